//! From polled records to the batch that the processor takes.

use super::schemas::Schemas;
use crate::codec::{Decoder, FieldNames, Limits, schema_id};
use crate::kafka::consumer::{RawRecord, Verdict};
use crate::model::{DeadLetter, Record, RecordBatch, TimeMs};

/// Decodes records, and finds the schemas that they need.
pub struct RecordDecoder {
    decoder: Decoder,
    schemas: Option<Schemas>,
}

impl RecordDecoder {
    pub fn new(fields: FieldNames, limits: Limits, schemas: Option<Schemas>) -> RecordDecoder {
        let decoder = match schemas {
            Some(_) => Decoder::with_schemas(fields, limits),
            None => Decoder::new(fields, limits),
        };
        RecordDecoder { decoder, schemas }
    }

    /// Decodes one record into the batch, once its schema is known.
    pub fn decode_into(&mut self, raw: &RawRecord<'_>, batch: &mut RecordBatch) -> Verdict {
        if let Some(schemas) = &mut self.schemas
            && let Some(id) = raw.payload().and_then(schema_id)
        {
            let verdict = schemas.prepare(&mut self.decoder, id);
            if verdict != Verdict::Taken {
                return verdict;
            }
        }
        decode_into(&mut self.decoder, raw, batch);
        Verdict::Taken
    }
}

/// Decodes one record into the batch: as a record with its readings, or as a dead letter with all its bytes.
fn decode_into(decoder: &mut Decoder, raw: &RawRecord<'_>, batch: &mut RecordBatch) {
    let start = batch.readings.len();
    // The oldest message format has no timestamps: event times are taken as they are.
    let timestamp = raw.timestamp().unwrap_or(TimeMs(i64::MAX / 2));
    match decoder.decode(raw.payload(), timestamp, &mut batch.readings) {
        Ok(decoded) => batch.records.push(Record {
            partition: raw.partition(),
            offset: raw.offset(),
            timestamp: raw.timestamp().unwrap_or(decoded.time),
            sensor: decoded.sensor,
            time: decoded.time,
            readings: index(start)..index(batch.readings.len()),
            label: decoded.label,
            status: decoded.status,
            location: decoded.location,
        }),
        Err(rejected) => {
            let letter = DeadLetter {
                partition: raw.partition(),
                offset: raw.offset(),
                timestamp: raw.timestamp().unwrap_or(TimeMs(-1)),
                reason: rejected.reason,
                detail: rejected.detail,
                key: raw.key().map(<[u8]>::to_vec),
                payload: raw.payload().map(<[u8]>::to_vec),
                headers: raw.headers(),
            };
            batch.dead.push((batch.records.len(), letter));
        }
    }
}

/// A batch holds far fewer readings than a `u32` counts: its records and their bytes are bounded.
fn index(readings: usize) -> u32 {
    u32::try_from(readings).expect("a batch is bounded in bytes")
}
