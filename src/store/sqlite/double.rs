//! Doubles that survive SQLite to the bit.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};

/// SQLite knows no NaN and turns it into NULL; here it becomes the eight bytes of the double. All others are themselves.
pub(super) struct Double(pub(super) f64);

impl ToSql for Double {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(if self.0.is_nan() {
            Value::Blob(self.0.to_bits().to_be_bytes().to_vec())
        } else {
            Value::Real(self.0)
        }))
    }
}

impl FromSql for Double {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Double> {
        match value {
            ValueRef::Real(value) => Ok(Double(value)),
            ValueRef::Blob(bytes) => {
                let bytes = bytes.try_into().map_err(|_| FromSqlError::InvalidType)?;
                Ok(Double(f64::from_bits(u64::from_be_bytes(bytes))))
            }
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
