//! Errors that cross the wire as data. The shell renders them with names, places and suggestions.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::GuestAddress;
use crate::fault::FaultReport;
use crate::image::RelocationKind;
use crate::inspect::{BuildId, ExtensionId, Placed, ThreadId};
use crate::maps::{MapError, MapId};
use crate::programs::{ProgramError, ProgramId};

/// Why a request failed. The guest's state is as it was before the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RpcError {
    /// The two sides were built with different messages.
    ProtocolMismatch {
        /// The guest's [`crate::PROTOCOL_HASH`].
        guest: u64,
    },
    /// The first request of a session has to be `Hello`.
    NoSession,
    /// [`crate::limits::SESSIONS_MAX`] shells are attached.
    TooManySessions,
    /// The body was not a request that this guest knows.
    Malformed,
    /// A limit of [`crate::limits`] would be passed.
    Limit {
        /// What it bounds.
        what: String,
        /// The limit.
        limit: u64,
        /// What was asked for.
        asked: u64,
    },
    /// No such thread.
    NoThread(ThreadId),
    /// No such extension.
    NoExtension(ExtensionId),
    /// No such run.
    NoRun(u32),
    /// No such upload, or it belongs to another session.
    NoUpload(u32),
    /// An upload was committed before all of its bytes had come.
    UploadIncomplete {
        /// Bytes announced.
        announced: u32,
        /// Bytes received in order.
        received: u32,
    },
    /// Memory at the address cannot be read or written.
    BadAddress {
        /// First address of the range that failed.
        address: GuestAddress,
        /// Whether it was to be written.
        write: bool,
    },
    /// A file operation failed.
    File {
        /// The path.
        path: String,
        /// Why.
        reason: FileError,
    },
    /// Loading failed.
    Load(LoadError),
    /// No such program.
    NoProgram(ProgramId),
    /// No such map.
    NoMap(MapId),
    /// Loading or starting eBPF programs failed.
    Program(ProgramError),
    /// An operation on a map failed.
    Map(MapError),
    /// The program is in use.
    ProgramInUse {
        /// Runs of it.
        runs: u32,
        /// Names of the maps that hold it, for tail calls.
        held_by: Vec<String>,
    },
    /// The extension is in use.
    InUse {
        /// Runs in it.
        runs: u32,
        /// Extensions that link to it.
        used_by: Vec<String>,
    },
    /// The extension has no `main`, and `run` needs one; or no such function to call.
    NoEntry,
    /// This image was built without what the request needs.
    Unsupported {
        /// What is missing.
        what: String,
    },
    /// Out of memory.
    OutOfMemory {
        /// What was asked for, in bytes.
        bytes: u64,
    },
}

/// Why a file operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileError {
    /// No such file or directory.
    NotFound,
    /// Exists already.
    Exists,
    /// A component of the path is not a directory.
    NotDirectory,
    /// Is a directory.
    IsDirectory,
    /// The directory has entries.
    NotEmpty,
    /// The path is too long, empty, or has a NUL.
    InvalidPath,
    /// Not allowed by the file's mode or mount.
    Permission,
    /// No space.
    NoSpace,
    /// Not supported by this file system.
    Unsupported,
    /// The server answered nonsense or not at all.
    Io,
    /// Another Linux error number.
    Errno(u32),
}

/// Why an extension was not loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadError {
    /// The serialized image does not decode, or is not consistent; says where.
    BadImage {
        /// What is wrong.
        reason: String,
    },
    /// The hints were made from another image than the one that runs.
    WrongBuild {
        /// What runs.
        guest: BuildId,
    },
    /// An extension of that name is loaded.
    NameTaken(ExtensionId),
    /// Symbols that nobody defines: all of them, or as many as fit a frame.
    Undefined(Vec<MissingSymbol>),
    /// A symbol is defined twice in the image.
    DuplicateSymbol {
        /// Its name.
        name: String,
    },
    /// A hint points outside the guest's image.
    BadHint {
        /// The symbol.
        name: String,
        /// The hint.
        address: GuestAddress,
    },
    /// A relocated value does not fit its field.
    Overflow {
        /// Section and offset of the field.
        place: Place,
        /// The relocation.
        kind: RelocationKind,
        /// The symbol.
        symbol: String,
        /// The value that does not fit.
        value: i64,
    },
    /// Code holds the bytes of an instruction that could lift the isolation.
    ForbiddenInstruction {
        /// Section and offset of the first byte.
        place: Place,
        /// Its mnemonic.
        mnemonic: String,
    },
    /// All protection keys are taken.
    NoKey {
        /// Domains that hold one.
        in_use: u32,
    },
    /// The machine cannot isolate in the way asked for.
    NoIsolation {
        /// What it lacks.
        reason: String,
    },
    /// The window for loaded code has no room, or the machine no memory.
    NoRoom {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A constructor or `init` was ended by the guest.
    InitFaulted {
        /// Why and where.
        report: Box<FaultReport>,
        /// Where the sections lay, to symbolize it: they are gone by now.
        sections: Vec<Placed>,
    },
    /// `init` returned this non-zero value.
    InitFailed(i64),
}

/// A symbol that nobody defines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingSymbol {
    /// Its name.
    pub name: String,
    /// Exported names that look like it, best first, at most three.
    pub near: Vec<String>,
}

/// A place in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Name of the section.
    pub section: String,
    /// Offset in bytes.
    pub offset: u32,
}
