//! Keys and values between bytes and text.

use serde_json::{Value, json};
use uio_bpf_objects::TypeInfo;
use uio_protocol::bpf::MapKind;
use uio_protocol::maps::MapInfo;

use super::super::{CommandError, Shell};
use crate::render::units::hex;

/// The types of a map's key and value.
pub(super) struct Types {
    key: TypeInfo,
    value: TypeInfo,
    kind: MapKind,
}

impl Types {
    /// Asks the guest for them. What the object did not describe is shown as bytes.
    pub(super) fn of(shell: &Shell, map: &MapInfo) -> Result<Self, CommandError> {
        let (key, value) = if map.typed { shell.client.map_types(map.id)? } else { Default::default() };
        // A description of another size would show nonsense.
        let typed = |encoded: &[u8], bytes: u32| {
            let known = TypeInfo::decode(encoded).ok().filter(|info| info.bytes() == bytes);
            known.unwrap_or_else(|| TypeInfo::opaque(bytes))
        };
        Ok(Self { key: typed(&key, map.key_bytes), value: typed(&value, map.value_bytes), kind: map.kind })
    }

    pub(super) fn key_text(&self, key: &[u8]) -> String {
        if self.is_indexed() { number(key).to_string() } else { self.key.render(key) }
    }

    pub(super) fn value_text(&self, value: &[u8]) -> String {
        match self.kind {
            MapKind::ProgArray => format!("program {}", number(value)),
            MapKind::ArrayOfMaps | MapKind::HashOfMaps => format!("map {}", number(value)),
            _ => self.value.render(value),
        }
    }

    /// An entry as JSON: as text and as bytes.
    pub(super) fn json(&self, key: &[u8], value: &[u8]) -> Value {
        json!({
            "key": self.key_text(key),
            "value": self.value_text(value),
            "key_hex": hex(key),
            "value_hex": hex(value),
        })
    }

    pub(super) fn parse_key(&self, command: &'static str, text: &str) -> Result<Vec<u8>, CommandError> {
        if self.key.bytes() == 0 {
            return Ok(Vec::new());
        }
        if self.is_indexed()
            && let Some(index) = crate::render::units::number(text)
            && let Ok(index) = u32::try_from(index)
        {
            return Ok(index.to_le_bytes().to_vec());
        }
        parse(command, "key", &self.key, text)
    }

    pub(super) fn parse_value(&self, command: &'static str, text: &str) -> Result<Vec<u8>, CommandError> {
        let refers = matches!(self.kind, MapKind::ProgArray | MapKind::ArrayOfMaps | MapKind::HashOfMaps);
        if refers
            && let Some(id) = crate::render::units::number(text)
            && let Ok(id) = u32::try_from(id)
        {
            return Ok(id.to_le_bytes().to_vec());
        }
        parse(command, "value", &self.value, text)
    }

    /// Whether keys are indices, or places in a queue.
    fn is_indexed(&self) -> bool {
        matches!(
            self.kind,
            MapKind::Array
                | MapKind::PerCpuArray
                | MapKind::ProgArray
                | MapKind::ArrayOfMaps
                | MapKind::Queue
                | MapKind::Stack
        )
    }
}

fn parse(command: &'static str, what: &str, info: &TypeInfo, text: &str) -> Result<Vec<u8>, CommandError> {
    info.parse(text).map_err(|error| CommandError::Usage {
        command,
        message: format!("the {what} `{text}` has {} bytes of its type; {error}", info.bytes()),
    })
}

/// A little-endian number of at most 4 bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Whether a map has keys that are typed.
pub(super) fn has_keys(kind: MapKind) -> bool {
    !matches!(kind, MapKind::Queue | MapKind::Stack | MapKind::RingBuffer)
}
