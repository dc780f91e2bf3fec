//! The lossless cast as a function of the plan, so that it runs wherever the plan runs.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::cast::{cast, show, type_name};

/// A value that does not fit. Travels through DataFusion as an external error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// `CastFailed` or `NullInRequiredColumn`.
    pub code: &'static str,
    /// The column.
    pub column: String,
    /// In words.
    pub message: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl std::error::Error for Misfit {}

/// `expression` as a value of `to` for this column; an error for values that do not fit, and for null where it is `required`.
pub(super) fn lossless(expression: Expr, column: &str, to: &DataType, required: bool) -> Expr {
    let function = Lossless {
        column: column.to_owned(),
        to: to.clone(),
        required,
        signature: Signature::any(1, Volatility::Immutable),
    };
    Arc::new(ScalarUDF::from(function)).call(vec![expression])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Lossless {
    column: String,
    to: DataType,
    required: bool,
    signature: Signature,
}

impl Lossless {
    fn convert(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let checked = cast(array, &self.to)?;
        if let Some(row) = checked.first_bad() {
            let message = format!(
                "`{}` of type {} does not fit the column `{}` of type {} without loss",
                show(array, row),
                type_name(array.data_type()),
                self.column,
                type_name(&self.to)
            );
            return Err(self.misfit("CastFailed", message));
        }
        if self.required && checked.array.logical_null_count() > 0 {
            let message = format!("the column `{}` is `nullable: false`, and the value is null", self.column);
            return Err(self.misfit("NullInRequiredColumn", message));
        }
        Ok(checked.array)
    }

    fn misfit(&self, code: &'static str, message: String) -> DataFusionError {
        DataFusionError::External(Box::new(Misfit { code, column: self.column.clone(), message }))
    }
}

impl ScalarUDFImpl for Lossless {
    fn name(&self) -> &'static str {
        "lossless"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = !self.required && arguments.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.to.clone(), nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.first() {
            Some(ColumnarValue::Array(array)) => self.convert(array).map(ColumnarValue::Array),
            Some(ColumnarValue::Scalar(value)) => {
                let converted = self.convert(&value.to_array_of_size(1)?)?;
                ScalarValue::try_from_array(&converted, 0).map(ColumnarValue::Scalar)
            }
            None => Err(DataFusionError::Internal("a cast of nothing".to_owned())),
        }
    }
}
