//! Days and hours of times, by division.
//!
//! `CAST(… AS DATE)` and `date_part` make a calendar date of every value, which costs as much as decoding a column; jobs ask for just
//! these to name their partitions. In UTC a day is a fixed number of ticks, so here it is a division and, for years and months, the
//! arithmetic of Howard Hinnant's `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>). What is not plain, such as
//! another zone or a year beyond 9999, is left to the expression that stands here otherwise: the results are the same.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::unary;
use arrow::datatypes::{
    ArrowTimestampType, DataType, Date32Type, FieldRef, Int32Type, Schema, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::{CastExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

/// Days from 1970-01-01 to 0001-01-01, and to 10000-01-01.
const YEARS: (i64, i64) = (-719_162, 2_932_897);
const SECONDS_PER_DAY: i64 = 86_400;

/// What is asked of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Date,
    Year,
    Month,
    Day,
    Hour,
    Minute,
}

/// The same expression with its calendars made quick.
pub(super) fn quickened(expression: Arc<dyn PhysicalExpr>, input: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    expression
        .transform_up(|expression| {
            let Some((part, time)) = asked(&expression) else { return Ok(Transformed::no(expression)) };
            if !is_utc(&time.data_type(input)?) {
                return Ok(Transformed::no(expression));
            }
            Ok(Transformed::yes(Arc::new(Calendar { original: expression, time, part }) as Arc<dyn PhysicalExpr>))
        })
        .data()
}

/// What this expression asks, and of what.
fn asked(expression: &Arc<dyn PhysicalExpr>) -> Option<(Part, Arc<dyn PhysicalExpr>)> {
    if let Some(cast) = expression.downcast_ref::<CastExpr>() {
        return (*cast.cast_type() == DataType::Date32).then(|| (Part::Date, Arc::clone(cast.expr())));
    }
    let function = expression.downcast_ref::<ScalarFunctionExpr>().filter(|function| function.name() == "date_part")?;
    let [name, time] = function.args() else { return None };
    let part = match name.downcast_ref::<Literal>()?.value().try_as_str()?? {
        "year" => Part::Year,
        "month" => Part::Month,
        "day" => Part::Day,
        "hour" => Part::Hour,
        "minute" => Part::Minute,
        _ => return None,
    };
    Some((part, Arc::clone(time)))
}

fn is_utc(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, zone) => zone.as_deref().is_none_or(|zone| matches!(zone, "UTC" | "+00:00")),
        _ => false,
    }
}

/// An expression, and a quicker way to its value.
#[derive(Debug, Clone)]
struct Calendar {
    original: Arc<dyn PhysicalExpr>,
    time: Arc<dyn PhysicalExpr>,
    part: Part,
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.original.eq(&other.original)
    }
}

impl Eq for Calendar {}

impl Hash for Calendar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.original.hash(state);
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.original)
    }
}

impl PhysicalExpr for Calendar {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if let ColumnarValue::Array(times) = self.time.evaluate(batch)?
            && let Some(parts) = self.part.of(&times)
        {
            return Ok(ColumnarValue::Array(parts));
        }
        self.original.evaluate(batch)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.original.return_field(input)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.original]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let [original] = children.as_slice() else {
            return Err(DataFusionError::Internal("a calendar has one expression".to_owned()));
        };
        // Another expression may ask something else: then it stands for itself.
        let time = asked(original).filter(|(part, _)| *part == self.part).map(|(_, time)| time);
        Ok(match time {
            Some(time) => Arc::new(Self { original: Arc::clone(original), time, part: self.part }),
            None => Arc::clone(original),
        })
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original.fmt_sql(f)
    }
}

impl Part {
    /// This part of each time; `None` when a value is far away.
    fn of(self, times: &ArrayRef) -> Option<ArrayRef> {
        match times.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => self.of_ticks::<TimestampSecondType, 1>(times),
            DataType::Timestamp(TimeUnit::Millisecond, _) => self.of_ticks::<TimestampMillisecondType, 1_000>(times),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.of_ticks::<TimestampMicrosecondType, 1_000_000>(times)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                self.of_ticks::<TimestampNanosecondType, 1_000_000_000>(times)
            }
            _ => None,
        }
    }

    /// `TICKS` a second. A constant: multiplication is much cheaper than division by what is not known.
    fn of_ticks<T: ArrowTimestampType, const TICKS: i64>(self, times: &ArrayRef) -> Option<ArrayRef> {
        let times = times.as_primitive::<T>();
        let day = const { SECONDS_PER_DAY * TICKS };
        let (from, to) = const {
            let day = SECONDS_PER_DAY * TICKS;
            (YEARS.0.saturating_mul(day), YEARS.1.saturating_mul(day))
        };
        let (least, most) =
            times.values().iter().fold((i64::MAX, i64::MIN), |(least, most), time| (least.min(*time), most.max(*time)));
        if !times.is_empty() && (least < from || most >= to) {
            return None;
        }
        let days = |time: i64| time.div_euclid(day) as i32;
        Some(match self {
            Self::Date => Arc::new(unary::<T, _, Date32Type>(times, days)),
            Self::Year => parts(times, |time| civil(days(time)).0),
            Self::Month => parts(times, |time| civil(days(time)).1),
            Self::Day => parts(times, |time| civil(days(time)).2),
            Self::Hour => parts(times, |time| (time.rem_euclid(day) / (3600 * TICKS)) as i32),
            Self::Minute => parts(times, |time| (time.rem_euclid(3600 * TICKS) / (60 * TICKS)) as i32),
        })
    }
}

fn parts<T: ArrowTimestampType>(times: &PrimitiveArray<T>, part: impl Fn(i64) -> i32) -> ArrayRef {
    Arc::new(unary::<T, _, Int32Type>(times, part))
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: i32) -> (i32, i32, i32) {
    // Years begin in March here, so that the day that is missing in most of them is the last one; eras are 400 of them.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i32::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
    };
    use arrow::datatypes::Field;
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::execution_props::ExecutionProps;
    use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
    use datafusion::logical_expr::{cast, col, lit};
    use datafusion::physical_expr::create_physical_expr;
    use proptest::prelude::*;

    use super::*;

    /// Holds each quick expression against the one that it stands for.
    fn check(times: &ArrayRef) {
        let schema = Schema::new(vec![Field::new("t", times.data_type().clone(), true)]);
        let input = DFSchema::try_from(schema.clone()).unwrap();
        let date_part = |part: &str| datafusion::functions::datetime::date_part().call(vec![lit(part), col("t")]);
        let asked = ["year", "month", "day", "hour", "minute"].map(date_part);
        for expression in asked.into_iter().chain([cast(col("t"), DataType::Date32)]) {
            let original =
                create_physical_expr(&expression, &input, &ExecutionProps::new(), &PhysicalPlanningContext::default())
                    .unwrap();
            let quick = quickened(Arc::clone(&original), &schema).unwrap();
            assert!(quick.downcast_ref::<Calendar>().is_some(), "{expression}");
            let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::clone(times)]).unwrap();
            let value = |expression: &dyn PhysicalExpr| {
                expression.evaluate(&batch).and_then(|value| value.into_array(batch.num_rows()))
            };
            match (value(original.as_ref()), value(quick.as_ref())) {
                (Ok(original), Ok(quick)) => assert_eq!(&original, &quick, "{expression} of {times:?}"),
                (original, quick) => assert_eq!(original.is_err(), quick.is_err(), "{expression} of {times:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn parts_of_times_are_those_of_the_original_expression(
            seconds in proptest::collection::vec(proptest::option::of(-62_200_000_000i64..253_500_000_000), 0..40),
            ticks in 0i64..1_000_000_000,
            zone in proptest::option::of(proptest::sample::select(vec!["UTC", "+00:00"])),
        ) {
            let of = |unit: i64| seconds.iter().map(move |s| s.map(|s| s * unit + ticks % unit)).collect::<Vec<_>>();
            let zone = zone.map(Arc::<str>::from);
            check(&(Arc::new(TimestampSecondArray::from(of(1)).with_timezone_opt(zone.clone())) as ArrayRef));
            check(&(Arc::new(TimestampMillisecondArray::from(of(1_000)).with_timezone_opt(zone.clone())) as ArrayRef));
            check(&(Arc::new(TimestampMicrosecondArray::from(of(1_000_000)).with_timezone_opt(zone.clone())) as ArrayRef));
            let near = seconds.iter().map(|s| s.map(|s| (s % 9_000_000_000) * 1_000_000_000 + ticks)).collect::<Vec<_>>();
            check(&(Arc::new(TimestampNanosecondArray::from(near).with_timezone_opt(zone)) as ArrayRef));
        }
    }

    #[test]
    fn times_beyond_all_calendars_are_what_the_original_expression_makes_of_them() {
        for time in [i64::MIN, -62_135_596_800_001, 253_402_300_800_000, i64::MAX / 1000, i64::MAX] {
            check(&(Arc::new(TimestampMillisecondArray::from(vec![Some(0), Some(time), None])) as ArrayRef));
        }
    }

    #[test]
    fn another_zone_is_left_alone() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into()));
        let schema = Schema::new(vec![Field::new("t", zoned, true)]);
        let input = DFSchema::try_from(schema.clone()).unwrap();
        let original = create_physical_expr(
            &cast(col("t"), DataType::Date32),
            &input,
            &ExecutionProps::new(),
            &PhysicalPlanningContext::default(),
        )
        .unwrap();
        assert!(quickened(original, &schema).unwrap().downcast_ref::<Calendar>().is_none());
    }
}
