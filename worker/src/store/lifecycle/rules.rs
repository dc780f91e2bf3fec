//! The lifecycle configuration of a bucket, as far as it matters here: which keys a rule is about, and what it does to them.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A rule that is in force.
#[derive(Debug, PartialEq)]
pub(super) struct Rule {
    id: String,
    /// It is about the keys that begin so.
    prefix: String,
    /// It is about some of these keys only: those of objects with a tag, or of some size.
    picks: Picks,
    /// Incomplete uploads are aborted after so many days.
    abort_days: Option<u32>,
    /// Objects are deleted some day.
    expires: bool,
}

/// What a rule asks of an object besides its key.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Picks {
    All,
    Size,
    Tag,
}

/// The rules of a configuration that are enabled.
pub(super) fn parse(xml: &str) -> Result<Vec<Rule>, quick_xml::DeError> {
    let configuration: Configuration = quick_xml::de::from_str(xml)?;
    Ok(configuration.rules.into_iter().filter(|rule| rule.status == "Enabled").map(RuleElement::into_rule).collect())
}

/// Is every upload of a key that begins with `folder` aborted some day?
pub(super) fn aborts_all(rules: &[Rule], folder: &str) -> bool {
    rules.iter().any(|rule| rule.abort_days.is_some() && rule.picks == Picks::All && folder.starts_with(&rule.prefix))
}

/// The rule that is the first to abort an upload of some key that begins with `folder`, and after how many days.
///
/// Uploads have neither tags nor a size: a rule that asks for these finds none.
pub(super) fn first_abort<'r>(rules: &'r [Rule], folder: &str) -> Option<(&'r str, u32)> {
    let near = rules.iter().filter(|rule| rule.picks == Picks::All && rule.meets(folder));
    near.filter_map(|rule| Some((rule.id.as_str(), rule.abort_days?))).min_by_key(|(_, days)| *days)
}

/// The rules that delete objects at keys which begin with one of `folders`. Those objects never have tags.
pub(super) fn expiring<'r>(rules: &'r [Rule], folders: &[String]) -> impl Iterator<Item = &'r str> {
    let near = rules.iter().filter(move |rule| folders.iter().any(|folder| rule.meets(folder)));
    near.filter(|rule| rule.expires && rule.picks != Picks::Tag).map(|rule| rule.id.as_str())
}

impl Rule {
    /// Is there a key that begins with both?
    fn meets(&self, folder: &str) -> bool {
        folder.starts_with(&self.prefix) || self.prefix.starts_with(folder)
    }
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "Rule", default)]
    rules: Vec<RuleElement>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RuleElement {
    #[serde(rename = "ID")]
    id: String,
    status: String,
    /// Where configurations of the first years have it.
    prefix: Option<String>,
    filter: Option<Filter>,
    expiration: Option<Expiration>,
    abort_incomplete_multipart_upload: Option<Abort>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Filter {
    prefix: Option<String>,
    #[serde(rename = "Tag")]
    tags: Vec<IgnoredAny>,
    object_size_greater_than: Option<IgnoredAny>,
    object_size_less_than: Option<IgnoredAny>,
    and: Option<Box<Filter>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Expiration {
    /// With neither of them it removes delete markers, and no object.
    days: Option<IgnoredAny>,
    date: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Abort {
    days_after_initiation: u32,
}

impl RuleElement {
    fn into_rule(self) -> Rule {
        let mut filter = self.filter.unwrap_or_default();
        filter = filter.and.take().map_or(filter, |and| *and);
        let sized = filter.object_size_greater_than.is_some() || filter.object_size_less_than.is_some();
        let picks = match (filter.tags.is_empty(), sized) {
            (false, _) => Picks::Tag,
            (true, true) => Picks::Size,
            (true, false) => Picks::All,
        };
        let expires = self.expiration.is_some_and(|expiration| expiration.days.is_some() || expiration.date.is_some());
        Rule {
            id: self.id,
            prefix: filter.prefix.or(self.prefix).unwrap_or_default(),
            picks,
            abort_days: self.abort_incomplete_multipart_upload.map(|abort| abort.days_after_initiation),
            expires,
        }
    }
}
