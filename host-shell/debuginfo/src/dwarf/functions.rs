//! Signatures of functions and entries of variables.

use super::types::reference_of;
use super::{DebugInfo, Shared};
use crate::error::DebugError;
use crate::types::TypeRef;

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty if the source gives none.
    pub name: String,
    /// Its type.
    pub type_ref: TypeRef,
}

/// What a function takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Qualified name.
    pub name: String,
    /// Address of its first instruction.
    pub address: u64,
    /// In order.
    pub parameters: Vec<Parameter>,
    /// [`TypeRef::Void`] if it returns nothing.
    pub result: TypeRef,
    /// Declared with `...` at the end.
    pub variadic: bool,
    /// Its entry says it never returns.
    pub diverges: bool,
}

/// Entries followed from a function to its abstract origin or declaration.
const ORIGIN_DEPTH_MAX: usize = 8;

/// Parameters read from one function.
const PARAMETERS_MAX: usize = 255;

type Die = gimli::DebuggingInformationEntry<Shared>;

impl DebugInfo {
    /// The signature of the function whose entry is at `offset` and whose code is at `address`.
    pub(crate) fn signature(&self, offset: usize, address: u64) -> Result<Signature, DebugError> {
        let (unit, at) = self.unit_at(offset)?;
        let entry = unit.entry(at)?;
        let mut parameters = Vec::new();
        let mut variadic = false;
        let mut tree = unit.entries_tree(Some(at))?;
        let mut children = tree.root()?.children();
        while let Some(child) = children.next()? {
            match child.entry().tag() {
                gimli::DW_TAG_formal_parameter if parameters.len() < PARAMETERS_MAX => {
                    parameters.push(Parameter {
                        name: self.inherited(unit, child.entry(), Self::name_of)?.unwrap_or_default(),
                        type_ref: self.inherited_type(unit, child.entry())?,
                    });
                }
                gimli::DW_TAG_unspecified_parameters => variadic = true,
                _ => {}
            }
        }
        let flagged =
            |_: &Self, _: &gimli::Unit<Shared>, entry: &Die| entry.attr(gimli::DW_AT_noreturn).map(|_| ());
        Ok(Signature {
            name: self.inherited(unit, &entry, Self::name_of)?.unwrap_or_default(),
            address,
            parameters,
            result: self.inherited_type(unit, &entry)?,
            variadic,
            diverges: self.inherited(unit, &entry, flagged)?.is_some(),
        })
    }

    /// Whether the optimizer changed how the function whose entry is at `offset` takes its arguments
    /// (`DW_CC_nocall`), so that nobody but its own callers can call it.
    pub(crate) fn has_private_convention(&self, offset: usize) -> Result<bool, DebugError> {
        let (unit, at) = self.unit_at(offset)?;
        let convention = |_: &Self, _: &gimli::Unit<Shared>, entry: &Die| match entry
            .attr_value(gimli::DW_AT_calling_convention)
        {
            Some(gimli::AttributeValue::CallingConvention(convention)) => Some(convention),
            _ => None,
        };
        Ok(self.inherited(unit, &unit.entry(at)?, convention)? == Some(gimli::DW_CC_nocall))
    }

    /// What `DW_AT_type` of a variable's entry refers to.
    pub(crate) fn variable_type(&self, offset: usize) -> Result<TypeRef, DebugError> {
        let (unit, at) = self.unit_at(offset)?;
        self.inherited_type(unit, &unit.entry(at)?)
    }

    fn inherited_type(&self, unit: &gimli::Unit<Shared>, entry: &Die) -> Result<TypeRef, DebugError> {
        let own = |info: &Self, unit: &gimli::Unit<Shared>, entry: &Die| {
            entry.attr(gimli::DW_AT_type).map(|_| info.type_ref(unit, entry))
        };
        Ok(self.inherited(unit, entry, own)?.unwrap_or(TypeRef::Void))
    }

    /// What `get` finds in an entry, or in the entry that it completes.
    fn inherited<T>(
        &self,
        unit: &gimli::Unit<Shared>,
        entry: &Die,
        get: impl Fn(&Self, &gimli::Unit<Shared>, &Die) -> Option<T>,
    ) -> Result<Option<T>, DebugError> {
        let origin = |unit: &gimli::Unit<Shared>, entry: &Die| {
            reference_of(unit, entry, gimli::DW_AT_abstract_origin)
                .or_else(|| reference_of(unit, entry, gimli::DW_AT_specification))
        };
        if let Some(found) = get(self, unit, entry) {
            return Ok(Some(found));
        }
        let mut next = origin(unit, entry);
        for _ in 0..ORIGIN_DEPTH_MAX {
            let Some(offset) = next else { break };
            let (unit, at) = self.unit_at(offset)?;
            let entry = unit.entry(at)?;
            if let Some(found) = get(self, unit, &entry) {
                return Ok(Some(found));
            }
            next = origin(unit, &entry);
        }
        Ok(None)
    }
}
