//! Column types, in the DDL of Hive and Spark: `bigint`, `decimal(12,2)`, `array<struct<sku:string,qty:int>>`.
//!
//! A plan has a [`HiveType`], which is right. A resource has a [`ColumnType`], which may be any text.

mod declared;

pub use declared::ColumnType;
pub(crate) use declared::RULE_MESSAGE;

use serde::{Deserialize, Serialize};

/// The type of a column. Prints and parses as Hive DDL; the names of struct members keep their case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HiveType {
    /// `boolean`
    Boolean,
    /// `tinyint`: 8 bits, signed.
    TinyInt,
    /// `smallint`: 16 bits, signed.
    SmallInt,
    /// `int`: 32 bits, signed.
    Int,
    /// `bigint`: 64 bits, signed.
    BigInt,
    /// `float`: IEEE 754 single.
    Float,
    /// `double`: IEEE 754 double.
    Double,
    /// `decimal(precision,scale)`: 1 to 38 digits, of which `scale` are after the point.
    Decimal {
        /// All digits, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// `string`: UTF-8.
    String,
    /// `binary`: bytes.
    Binary,
    /// `date`: days since 1970-01-01.
    Date,
    /// `timestamp`: an instant, microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// `timestamp_ntz`: a wall-clock time without a zone, in microseconds.
    TimestampNtz,
    /// `array<element>`
    Array(Box<HiveType>),
    /// `map<key,value>`
    Map(Box<HiveType>, Box<HiveType>),
    /// `struct<name:type,…>`
    Struct(Vec<(String, HiveType)>),
}

/// Types nest at most this deep: deeper ones are mistakes, and recursion stays bounded.
const MAX_DEPTH: usize = 32;

/// Why a text is not a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a column type: {problem} at character {at}; examples: bigint, decimal(12,2), array<struct<sku:string,qty:int>>"
)]
pub struct TypeError {
    text: String,
    problem: String,
    at: usize,
}

impl std::fmt::Display for HiveType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::TinyInt => f.write_str("tinyint"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Int => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::String => f.write_str("string"),
            Self::Binary => f.write_str("binary"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::TimestampNtz => f.write_str("timestamp_ntz"),
            Self::Array(element) => write!(f, "array<{element}>"),
            Self::Map(key, value) => write!(f, "map<{key},{value}>"),
            Self::Struct(members) => {
                f.write_str("struct<")?;
                for (index, (name, member)) in members.iter().enumerate() {
                    write!(f, "{}{name}:{member}", if index == 0 { "" } else { "," })?;
                }
                f.write_str(">")
            }
        }
    }
}

impl From<HiveType> for String {
    fn from(hive: HiveType) -> Self {
        hive.to_string()
    }
}

impl TryFrom<String> for HiveType {
    type Error = TypeError;

    fn try_from(text: String) -> Result<Self, TypeError> {
        text.parse()
    }
}

impl std::str::FromStr for HiveType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let mut parser = Parser { text, at: 0 };
        let hive = parser.hive_type(0)?;
        parser.spaces();
        if parser.at < text.len() {
            return Err(parser.error("something follows the type"));
        }
        Ok(hive)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, problem: impl Into<String>) -> TypeError {
        let at = self.text[..self.at].chars().count() + 1;
        TypeError { text: self.text.to_owned(), problem: problem.into(), at }
    }

    fn spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Characters up to one that has a meaning in the grammar.
    fn word(&mut self) -> &'a str {
        self.spaces();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| "<>(),:".contains(c) || c.is_whitespace()).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn take(&mut self, wanted: char) -> bool {
        self.spaces();
        let found = self.text[self.at..].starts_with(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), TypeError> {
        if self.take(wanted) { Ok(()) } else { Err(self.error(format!("`{wanted}` is missing"))) }
    }

    fn hive_type(&mut self, depth: usize) -> Result<HiveType, TypeError> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("more than {MAX_DEPTH} levels")));
        }
        self.spaces();
        let start = self.at;
        let name = self.word();
        Ok(match name.to_ascii_lowercase().as_str() {
            "boolean" => HiveType::Boolean,
            "tinyint" | "byte" => HiveType::TinyInt,
            "smallint" | "short" => HiveType::SmallInt,
            "int" | "integer" => HiveType::Int,
            "bigint" | "long" => HiveType::BigInt,
            "float" | "real" => HiveType::Float,
            "double" => HiveType::Double,
            "decimal" | "numeric" => self.decimal()?,
            "string" => HiveType::String,
            "binary" => HiveType::Binary,
            "date" => HiveType::Date,
            "timestamp" => HiveType::Timestamp,
            "timestamp_ntz" => HiveType::TimestampNtz,
            "array" => {
                self.expect('<')?;
                let element = self.hive_type(depth + 1)?;
                self.expect('>')?;
                HiveType::Array(Box::new(element))
            }
            "map" => {
                self.expect('<')?;
                let key = self.hive_type(depth + 1)?;
                self.expect(',')?;
                let value = self.hive_type(depth + 1)?;
                self.expect('>')?;
                HiveType::Map(Box::new(key), Box::new(value))
            }
            "struct" => self.members(depth)?,
            _ => {
                self.at = start;
                return Err(self.error(if name.is_empty() {
                    "a type is missing".to_owned()
                } else {
                    format!("there is no type `{name}`")
                }));
            }
        })
    }

    /// `(p,s)`, `(p)` or nothing: Hive's default is `decimal(10,0)`.
    fn decimal(&mut self) -> Result<HiveType, TypeError> {
        if !self.take('(') {
            return Ok(HiveType::Decimal { precision: 10, scale: 0 });
        }
        let precision = self.number("precision", 1, 38)?;
        let scale = if self.take(',') { self.number("scale", 0, precision)? } else { 0 };
        self.expect(')')?;
        Ok(HiveType::Decimal { precision, scale })
    }

    fn number(&mut self, what: &str, least: u8, most: u8) -> Result<u8, TypeError> {
        let start = self.at;
        match self.word().parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => {
                self.at = start;
                Err(self.error(format!("the {what} must be a number from {least} to {most}")))
            }
        }
    }

    fn members(&mut self, depth: usize) -> Result<HiveType, TypeError> {
        self.expect('<')?;
        let mut members: Vec<(String, HiveType)> = Vec::new();
        loop {
            let name = self.word();
            if name.is_empty() {
                return Err(self.error("a member's name is missing"));
            }
            if members.iter().any(|(other, _)| other == name) {
                return Err(self.error(format!("the member `{name}` stands twice")));
            }
            self.expect(':')?;
            members.push((name.to_owned(), self.hive_type(depth + 1)?));
            if !self.take(',') {
                break;
            }
        }
        self.expect('>')?;
        Ok(HiveType::Struct(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_type() -> impl Strategy<Value = HiveType> {
        let leaf = prop_oneof![
            Just(HiveType::Boolean),
            Just(HiveType::BigInt),
            Just(HiveType::String),
            Just(HiveType::TimestampNtz),
            (1u8..=38)
                .prop_flat_map(|precision| (Just(precision), 0..=precision))
                .prop_map(|(precision, scale)| HiveType::Decimal { precision, scale }),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|t| HiveType::Array(Box::new(t))),
                (inner.clone(), inner.clone()).prop_map(|(k, v)| HiveType::Map(Box::new(k), Box::new(v))),
                proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,8}", inner, 1..4)
                    .prop_map(|members| HiveType::Struct(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_type_prints_and_parses_to_itself(hive in any_type()) {
            prop_assert_eq!(hive.to_string().parse::<HiveType>(), Ok(hive));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<HiveType>();
        }
    }

    #[test]
    fn hive_spellings_are_understood() {
        for (text, canonical) in [
            ("BIGINT", "bigint"),
            ("integer", "int"),
            ("decimal", "decimal(10,0)"),
            ("Decimal( 12 )", "decimal(12,0)"),
            (" array < struct < sku : string , qty : int > > ", "array<struct<sku:string,qty:int>>"),
            ("map<string,array<double>>", "map<string,array<double>>"),
            ("struct<userId:string,TeamName:string>", "struct<userId:string,TeamName:string>"),
        ] {
            assert_eq!(text.parse::<HiveType>().map(|t| t.to_string()), Ok(canonical.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_and_where() {
        for (text, part) in [
            ("", "a type is missing at character 1"),
            ("strng", "there is no type `strng` at character 1"),
            ("array<strng>", "there is no type `strng` at character 7"),
            ("array<int", "`>` is missing at character 10"),
            ("decimal(39,2)", "the precision must be a number from 1 to 38 at character 9"),
            ("decimal(5,6)", "the scale must be a number from 0 to 5"),
            ("struct<a:int,a:int>", "the member `a` stands twice"),
            ("struct<>", "a member's name is missing"),
            ("int int", "something follows the type"),
        ] {
            let error = text.parse::<HiveType>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let deep = format!("{}int{}", "array<".repeat(40), ">".repeat(40));
        assert!(deep.parse::<HiveType>().expect_err("too deep").to_string().contains("more than 32 levels"));
    }
}
