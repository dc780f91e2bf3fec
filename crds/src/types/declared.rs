//! Types as they stand in a resource.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{HiveType, TypeError};

/// The type of a column as somebody wrote it. Reading it never fails: a list of objects is read as a whole, and one wrong word in one of
/// them must not hide all others. Whoever needs the type asks for it, and is told what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ColumnType(Result<HiveType, TypeError>);

/// The first word is all that a rule can tell; what is inside of the brackets is for [`ColumnType::get`]. Words are compared in lower
/// case once and by their beginnings, because the API server counts what a rule could cost for the longest text in the longest lists.
const RULE: &str = "[self.lowerAscii()].exists(t, t in ['boolean', 'tinyint', 'byte', 'smallint', 'short', 'int', 'integer', 'bigint', \
    'long', 'float', 'real', 'double', 'string', 'binary', 'date', 'timestamp', 'timestamp_ntz'] || t.startsWith('decimal') || \
    t.startsWith('numeric') || t.startsWith('array') || t.startsWith('map') || t.startsWith('struct'))";

/// The mend of a wrong type. By it a schema of types is known.
pub(crate) const RULE_MESSAGE: &str = "there is no such type: use boolean, tinyint, smallint, int, bigint, float, double, decimal(p,s), \
    string, binary, date, timestamp, timestamp_ntz, array<type>, map<key,value> or struct<name:type,...>";

impl ColumnType {
    /// The type, or what is wrong with the text.
    pub fn get(&self) -> Result<&HiveType, &TypeError> {
        self.0.as_ref()
    }
}

/// The one spelling of a type that there is, else the text as it was written.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(hive) => hive.fmt(f),
            Err(error) => f.write_str(&error.text),
        }
    }
}

impl From<String> for ColumnType {
    fn from(text: String) -> Self {
        Self(text.parse())
    }
}

impl From<ColumnType> for String {
    fn from(declared: ColumnType) -> Self {
        declared.to_string()
    }
}

impl FromStr for ColumnType {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.parse()))
    }
}

impl JsonSchema for ColumnType {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A column type in the DDL of Hive and Spark. Example: `decimal(12,2)`",
            "type": "string",
            "minLength": 3,
            "maxLength": 8192,
            "x-kubernetes-validations": [{"rule": RULE, "message": RULE_MESSAGE}],
        })
    }
}

#[cfg(test)]
mod tests {
    use kube::core::cel::Validator;

    use super::*;

    #[test]
    fn what_the_parser_knows_the_rule_lets_in() {
        let schema = ColumnType::json_schema(&mut SchemaGenerator::default());
        let check = |text: &str| Validator::new().validate(schema.as_value(), &text.into(), None);
        for text in [
            "boolean",
            "tinyint",
            "byte",
            "smallint",
            "short",
            "int",
            "integer",
            "bigint",
            "long",
            "float",
            "real",
            "double",
            "decimal",
            "decimal(38,0)",
            "numeric (4)",
            "string",
            "binary",
            "date",
            "timestamp",
            "timestamp_ntz",
            "array<int>",
            "ARRAY < int >",
            "Map<string,int>",
            "struct<a:int>",
        ] {
            assert!(text.parse::<HiveType>().is_ok() && check(text).is_ok(), "{text}");
        }
        let told = check("strng").expect_err("refused").to_string();
        assert!(told.contains("use boolean, tinyint, "), "{told}");
    }

    #[test]
    fn a_wrong_type_is_kept_as_it_is_and_told_when_it_is_needed() {
        let read = |text: &str| serde_json::from_value::<ColumnType>(text.into()).expect("any text");
        let right = read("Array< INT >");
        assert_eq!((right.to_string().as_str(), right.get().is_ok()), ("array<int>", true));
        assert_eq!(right, read("array<int>"), "the spelling does not matter");
        let wrong = read("Array< strng >");
        assert_eq!(serde_json::to_value(&wrong).expect("a text"), "Array< strng >");
        let told = wrong.get().expect_err("told").to_string();
        assert!(told.contains("there is no type `strng` at character 8"), "{told}");
    }
}
