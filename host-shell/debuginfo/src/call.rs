//! `call FN ARGS…`: textual arguments to register values, and the returned register to a value.

use crate::dwarf::functions::Signature;
use crate::error::DebugError;
use crate::expr::error::{ExprError, Problem, Span};
use crate::expr::eval::near_names;
use crate::memory::ReadMemory;
use crate::print::{Printed, encode};
use crate::space::Space;
use crate::symbols::{Symbol, SymbolKind};
use crate::types::{Field, Kind, TypeRef};
use crate::value::datum::Datum;
use crate::value::render::{PrintLimits, Renderer};
use crate::value::{Place, Reader, Value, is_scalar};
use uio_protocol::limits::CALL_ARGUMENTS_MAX;

/// Structs of one field within one another.
const WRAPPER_DEPTH_MAX: usize = 16;

/// A checked call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is called.
    pub signature: Signature,
    /// Values for `rdi`, `rsi`, `rdx`, `rcx`, `r8`, `r9`, as many as there are parameters.
    pub registers: Vec<u64>,
}

impl Space {
    /// The function that `name` means, with its signature. Without debug information the signature is
    /// that of a C function of unknown parameters: `variadic`, returning `u64`.
    ///
    /// # Errors
    /// There is no such function, there are several, or it has no code of its own.
    pub fn function(&self, name: &str) -> Result<Signature, ExprError> {
        let fail = |problem: Problem, suggestions: Vec<String>| ExprError {
            source: name.to_owned(),
            span: Span { start: 0, end: name.len() },
            problem: Box::new(problem),
            suggestions,
        };
        let found = self.find_symbols(name);
        let functions: Vec<&Symbol<'_>> =
            found.iter().filter(|symbol| symbol.kind != SymbolKind::Data).collect();
        match functions.as_slice() {
            [] if !found.is_empty() => Err(fail(
                Problem::NotCallable { function: name.to_owned(), reason: "it is data".to_owned() },
                Vec::new(),
            )),
            [] => Err(fail(Problem::UnknownName { name: name.to_owned() }, near_names(self, name))),
            [symbol] => match self.signature_at(symbol.address) {
                Ok(signature) => Ok(signature),
                Err(DebugError::Missing) => Ok(Signature {
                    name: symbol.demangled(),
                    address: symbol.address,
                    parameters: Vec::new(),
                    result: TypeRef::Int { signed: false, bytes: 8 },
                    variadic: true,
                    diverges: false,
                }),
                Err(error) => Err(fail(error.into(), Vec::new())),
            },
            several => {
                let mut candidates: Vec<String> = several.iter().map(|symbol| symbol.demangled()).collect();
                candidates.dedup();
                Err(fail(Problem::Ambiguous { name: name.to_owned(), candidates }, Vec::new()))
            }
        }
    }

    /// A function's parameters and result as a person reads them: `set_count(value: u64) -> u64`.
    #[must_use]
    pub fn describe_signature(&self, signature: &Signature) -> String {
        let mut parameters: Vec<String> = signature
            .parameters
            .iter()
            .map(|parameter| {
                let type_name = self.type_name(&parameter.type_ref);
                if parameter.name.is_empty() { type_name } else { format!("{}: {type_name}", parameter.name) }
            })
            .collect();
        if signature.variadic {
            parameters.push("...".to_owned());
        }
        let result = match (&signature.result, signature.diverges) {
            (_, true) => " -> !".to_owned(),
            (TypeRef::Void, false) => String::new(),
            (result, false) => format!(" -> {}", self.type_name(result)),
        };
        format!("{}({}){result}", signature.name, parameters.join(", "))
    }

    /// Checks arguments against a signature and encodes them as the System V ABI passes them. Rust
    /// functions take integers, booleans, characters and thin pointers in the same registers.
    ///
    /// # Errors
    /// Their number, type or range is wrong, or a parameter is not passed in one general register.
    /// The error's source is the argument at fault.
    pub fn prepare_call(
        &self,
        signature: &Signature,
        arguments: &[&str],
        memory: &mut dyn ReadMemory,
    ) -> Result<Call, ExprError> {
        let whole = |problem: Problem| ExprError {
            source: String::new(),
            span: Span::default(),
            problem: Box::new(problem),
            suggestions: Vec::new(),
        };
        let refused = |reason: String| {
            whole(Problem::NotCallable { function: self.describe_signature(signature), reason })
        };
        let expected = signature.parameters.len();
        if arguments.len() < expected || (arguments.len() > expected && !signature.variadic) {
            return Err(whole(Problem::ArgumentCount {
                function: self.describe_signature(signature),
                expected,
                given: arguments.len(),
            }));
        }
        if arguments.len() > CALL_ARGUMENTS_MAX {
            return Err(refused(format!("at most {CALL_ARGUMENTS_MAX} arguments fit into registers")));
        }
        if self.has_private_convention(signature.address) {
            let reason = "the optimizer changed how it takes its arguments; export it (`#[no_mangle]`)";
            return Err(refused(reason.to_owned()));
        }
        self.check_result(signature).map_err(refused)?;
        let mut reader = Reader { space: self, memory, registers: None, types_only: false };
        let mut registers = Vec::with_capacity(arguments.len());
        for (index, text) in arguments.iter().enumerate() {
            let unknown = TypeRef::Int { signed: false, bytes: 8 };
            let parameter = signature.parameters.get(index);
            let type_ref = parameter.map_or(&unknown, |parameter| &parameter.type_ref);
            let type_ref = self.scalar_inside(&mut reader, type_ref).map_err(whole)?;
            let resolved = self.resolve(&type_ref).map_err(|error| whole(error.into()))?;
            if !is_scalar(&resolved.kind) || matches!(resolved.kind, Kind::Float) || resolved.size > 8 {
                let name = parameter.map_or("", |parameter| parameter.name.as_str());
                return Err(refused(format!(
                    "parameter `{name}: {}` is not passed in one general register",
                    resolved.name
                )));
            }
            let encoded = match (parameter, text.trim().parse::<i64>()) {
                // Without a type, a negative number is what a C programmer means by it.
                (None, Ok(value)) if value < 0 => value.to_le_bytes().to_vec(),
                _ => encode(&mut reader, &type_ref, text, "passed").map_err(|error| error.in_source(text))?,
            };
            let signed = matches!(
                resolved.kind,
                Kind::Int { signed: true }
                    | Kind::Char { signed: true }
                    | Kind::Enumeration { signed: true, .. }
            );
            // Compilers rely on the caller to extend small integers to 32 bits.
            let negative = signed && encoded.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut word = [if negative { 0xff } else { 0 }; 8];
            word[..encoded.len().min(8)].copy_from_slice(&encoded[..encoded.len().min(8)]);
            registers.push(u64::from_le_bytes(word));
        }
        Ok(Call { signature: signature.clone(), registers })
    }

    /// The scalar as which a wrapper of one field is passed.
    fn scalar_inside(&self, reader: &mut Reader<'_>, type_ref: &TypeRef) -> Result<TypeRef, Problem> {
        let holder = Value { type_ref: type_ref.clone(), place: Place::Bytes(vec![0; 16]) };
        let mut current = reader.peel(&holder)?;
        for _ in 0..WRAPPER_DEPTH_MAX {
            let resolved = self.resolve(&current.type_ref)?;
            let Kind::Struct { fields, variants: None, union: false, .. } = &resolved.kind else { break };
            let filled = |field: &&Field| self.resolve(&field.type_ref).is_ok_and(|inner| inner.size > 0);
            let mut filled = fields.iter().filter(filled);
            let (Some(only), None) = (filled.next(), filled.next()) else { break };
            current = reader.field_value(&current, 0, only)?;
            current = reader.peel(&current)?;
        }
        Ok(current.type_ref)
    }

    /// Refuses results that are, or may be, returned through a hidden pointer argument: the function
    /// would write to wherever the first argument points. C and Rust agree on one register's worth,
    /// and on 128-bit integers and fat pointers in two.
    fn check_result(&self, signature: &Signature) -> Result<(), String> {
        let resolved = self.resolve(&signature.result).map_err(|error| error.to_string())?;
        let word = |field: &Field| {
            self.resolve(&field.type_ref).is_ok_and(|inner| {
                inner.size == 8 && matches!(inner.kind, Kind::Pointer { .. } | Kind::Int { .. })
            })
        };
        let in_registers = match &resolved.kind {
            _ if resolved.size <= 8 => true,
            Kind::Int { .. } | Kind::Float => true,
            Kind::Struct { fields, variants: None, union: false, .. } => {
                fields.len() == 2 && resolved.size == 16 && fields.iter().all(word)
            }
            _ => false,
        };
        if in_registers {
            return Ok(());
        }
        Err(format!("it returns {}, which may need memory of the caller", resolved.name))
    }

    /// What a function returned, by its type: `rax` holds integers, characters, booleans, enums
    /// without data, pointers, and structs of one such field.
    #[must_use]
    pub fn format_result(
        &self,
        signature: &Signature,
        rax: u64,
        memory: &mut dyn ReadMemory,
        limits: PrintLimits,
    ) -> Printed {
        let mut reader = Reader { space: self, memory, registers: None, types_only: false };
        let mut value =
            Value { type_ref: signature.result.clone(), place: Place::Bytes(rax.to_le_bytes().to_vec()) };
        if let Ok(peeled) = reader.peel(&value) {
            value = peeled;
        }
        // A wrapper is shown as itself if the one thing in it is in `rax`.
        let inside = self.scalar_inside(&mut reader, &value.type_ref).unwrap_or(TypeRef::Void);
        let resolved = self.resolve(&inside);
        let shown = |kind: &Kind, size: u64| {
            (is_scalar(kind) && !matches!(kind, Kind::Float) && size <= 8) || matches!(kind, Kind::Void)
        };
        let (datum, size) = match &resolved {
            Ok(resolved) if shown(&resolved.kind, resolved.size) => {
                (Renderer::new(&mut reader, limits).render(&value), resolved.size)
            }
            // Not (only) in rax: show what is there, and say so.
            Ok(resolved) => (Datum::Bad(format!("not a scalar in rax; rax = {rax:#x}")), resolved.size),
            Err(error) => (Datum::Bad(format!("{error}; rax = {rax:#x}")), 8),
        };
        Printed { type_name: self.type_name(&signature.result), size, address: None, datum }
    }
}
