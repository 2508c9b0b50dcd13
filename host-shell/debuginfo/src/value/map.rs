//! Entries of `BTreeMap`, `HashMap` and their sets, read from the layout that DWARF describes.

use super::{Place, Reader, Value, mask};
use crate::expr::error::Problem;
use crate::types::{Kind, TypeRef};
use crate::value::access::Active;

/// Levels of a B-tree. Each has six times the nodes of the one above, so no guest has more.
const TREE_HEIGHT_MAX: u64 = 16;

/// Slots of a hash table that are looked at for the entries wanted.
const SLOTS_MAX: u64 = 1 << 16;

/// Levels of structs searched for the table of a map.
const TABLE_DEPTH_MAX: usize = 6;

/// Keys and values; a set has keys only.
pub(crate) struct Entries {
    pub(crate) entries: Vec<(Value, Option<Value>)>,
    /// How many the guest has.
    pub(crate) length: u64,
}

impl Reader<'_> {
    /// The first `limit` entries of a map or set; `None` for other types.
    pub(crate) fn entries(&mut self, value: &Value, limit: usize) -> Result<Option<Entries>, Problem> {
        let resolved = self.resolve(&value.type_ref)?;
        let name = resolved.name.as_str();
        let ordered = name.starts_with("alloc::collections::btree::");
        let hashed = name.starts_with("hashbrown::") || name.starts_with("std::collections::hash::");
        let set = name.contains("::BTreeSet<") || name.contains("::HashSet<");
        if !(set || name.contains("::BTreeMap<") || name.contains("::HashMap<")) {
            return Ok(None);
        }
        if ordered {
            let map = if set { self.field(value, "map")? } else { value.clone() };
            return self.tree_entries(&map, set, limit).map(Some);
        }
        match (hashed, self.raw_table(value, 0)?) {
            (true, Some(table)) => self.table_entries(&table, set, limit),
            _ => Ok(None),
        }
    }

    fn tree_entries(&mut self, map: &Value, set: bool, limit: usize) -> Result<Entries, Problem> {
        let length = self.field(map, "length")?;
        let length = u64::try_from(self.bits(&length)? & mask(8)).unwrap_or(0);
        let mut entries = Vec::new();
        let root = self.field(map, "root")?;
        let root_type = self.resolve(&root.type_ref)?;
        if let Kind::Struct { variants: Some(variants), .. } = &root_type.kind
            && let Active::Variant(active) = self.active(&root, variants)?
            && active.name == "Some"
        {
            let inner = self.variant_value(&root, active)?;
            let node = self.field(&inner, "0")?;
            let height = self.field(&node, "height")?;
            let height = u64::try_from(self.bits(&height)? & mask(8)).unwrap_or(u64::MAX);
            let pointer = self.field(&node, "node")?;
            self.tree_node(&pointer, height, set, limit, &mut entries)?;
        }
        Ok(Entries { entries, length })
    }

    /// Adds the entries of one node and of those below, in order.
    fn tree_node(
        &mut self,
        pointer: &Value,
        height: u64,
        set: bool,
        limit: usize,
        entries: &mut Vec<(Value, Option<Value>)>,
    ) -> Result<(), Problem> {
        /// What the standard library puts into a node.
        const NODE_ENTRIES_MAX: u64 = 11;
        if height > TREE_HEIGHT_MAX || entries.len() >= limit {
            return Ok(());
        }
        let leaf = self.deref(pointer)?;
        let count = self.field(&leaf, "len")?;
        let count = u64::try_from(self.bits(&count)? & mask(2)).unwrap_or(0).min(NODE_ENTRIES_MAX);
        let edges = if height == 0 { None } else { self.tree_edges(&leaf)? };
        let (keys, values) = (self.field(&leaf, "keys")?, self.field(&leaf, "vals")?);
        for index in 0..=count {
            if let Some(edges) = &edges {
                let below = self.item(edges, index)?;
                self.tree_node(&below, height - 1, set, limit, entries)?;
            }
            if index < count && entries.len() < limit {
                let key = self.item(&keys, index)?;
                let value = if set { None } else { Some(self.item(&values, index)?) };
                entries.push((key, value));
            }
        }
        Ok(())
    }

    /// The children of an inner node, which begins like a leaf and is known as one.
    fn tree_edges(&mut self, leaf: &Value) -> Result<Option<Value>, Problem> {
        let name = self.resolve(&leaf.type_ref)?.name.replacen("::LeafNode<", "::InternalNode<", 1);
        let Some(type_ref) = self.space.find_type(&name) else { return Ok(None) };
        let inner = Value { type_ref, place: leaf.place.clone() };
        self.field(&inner, "edges").map(Some)
    }

    fn item(&mut self, array: &Value, index: u64) -> Result<Value, Problem> {
        let Some(sequence) = self.sequence(array)? else { return Err(Problem::Overflow) };
        let item = self.element(&sequence, i128::from(index))?;
        self.peel(&item)
    }

    /// The table inside of a hash map.
    fn raw_table(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Problem> {
        let resolved = self.resolve(&value.type_ref)?;
        if resolved.name.starts_with("hashbrown::raw::RawTable<") {
            return Ok(Some(value.clone()));
        }
        let Kind::Struct { fields, .. } = &resolved.kind else { return Ok(None) };
        for field in fields.iter().filter(|_| depth < TABLE_DEPTH_MAX) {
            let inner = self.field_value(value, 0, field)?;
            if let Some(found) = self.raw_table(&inner, depth + 1)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Entries lie below the control bytes, the first nearest to them; a control byte with its top bit
    /// clear marks a slot in use.
    fn table_entries(&mut self, table: &Value, set: bool, limit: usize) -> Result<Option<Entries>, Problem> {
        let resolved = self.resolve(&table.type_ref)?;
        let Kind::Struct { parameters, .. } = &resolved.kind else { return Ok(None) };
        let Some((_, pair)) = parameters.iter().find(|(name, _)| name == "T") else { return Ok(None) };
        let inner = self.field(table, "table")?;
        let mut number = |name: &str| -> Result<u64, Problem> {
            let field = self.field(&inner, name)?;
            let field = self.peel(&field)?;
            Ok(u64::try_from(self.bits(&field)? & mask(8)).unwrap_or(0))
        };
        let (last_slot, control, length) = (number("bucket_mask")?, number("ctrl")?, number("items")?);
        let size = self.resolve(pair)?.size;
        let slots = last_slot.saturating_add(1).min(SLOTS_MAX);
        let states = self.read(control, slots)?;
        let mut entries = Vec::new();
        let used = (1u64..).zip(&states).filter(|(_, state)| **state & 0x80 == 0);
        for (slot, _) in used.take(limit.min(usize::try_from(length).unwrap_or(usize::MAX))) {
            let address = control.wrapping_sub(slot.wrapping_mul(size));
            entries.push(self.pair(pair, address, set)?);
        }
        Ok(Some(Entries { entries, length }))
    }

    fn pair(&mut self, pair: &TypeRef, address: u64, set: bool) -> Result<(Value, Option<Value>), Problem> {
        let holder = Value { type_ref: pair.clone(), place: Place::Memory(address) };
        let key = self.field(&holder, "0")?;
        let value = if set { None } else { Some(self.field(&holder, "1")?) };
        Ok((key, value))
    }
}
