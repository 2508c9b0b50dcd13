//! `mem`

use serde_json::json;
use uio_protocol::inspect::Region;

use super::{Arguments, Command, CommandError, Output, Shell};
use crate::render::table::{Align, Table};
use crate::render::units::size;

pub(super) struct Mem;

impl Command for Mem {
    fn name(&self) -> &'static str {
        "mem"
    }

    fn summary(&self) -> &'static str {
        "Memory regions with their owners, and the heap"
    }

    fn usage(&self) -> &'static str {
        "mem"
    }

    fn details(&self) -> &'static str {
        "KEY is the protection key of the pages: 0 the kernel, 1 the application, 2 what is exchanged with\n\
         extensions, above that one for each isolated extension. No region is both writable and executable."
    }

    fn example(&self) -> &'static str {
        "> mem\n\
         START               SIZE     ACCESS  KEY  OWNER\n\
         0xffffffff80000000  308 KiB  r-x       0  kernel text\n\
         0xffffffff8004d000  96 KiB   r--       0  kernel constants\n\
         0xffffffff80072000  4 KiB    rw-       1  application data\n\
         \n\
         heap: 212 KiB in 1204 blocks of 1 MiB reserved; largest free block 811 KiB; 18220 allocations since boot"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn run(&self, shell: &mut Shell, _: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        let mut regions = shell.client.regions()?;
        let heap = shell.client.heap()?;
        regions.sort_by_key(|region| region.start);
        if out.is_json() {
            for region in &regions {
                out.object(&json!({
                    "start": region.start.to_string(),
                    "size": region.size,
                    "write": region.access.write,
                    "execute": region.access.execute,
                    "key": region.key,
                    "owner": region.owner,
                }))?;
            }
            return out.object(&json!({ "heap": {
                "reserved_bytes": heap.reserved_bytes,
                "used_bytes": heap.used_bytes,
                "used_blocks": heap.used_blocks,
                "largest_free_bytes": heap.largest_free_bytes,
                "allocations": heap.allocations,
            } }));
        }
        let mut table = Table::new(&[
            ("START", Align::Left),
            ("SIZE", Align::Right),
            ("ACCESS", Align::Left),
            ("KEY", Align::Right),
            ("OWNER", Align::Left),
        ]);
        for region in &joined(regions) {
            let write = if region.access.write { 'w' } else { '-' };
            let execute = if region.access.execute { 'x' } else { '-' };
            table.row([
                format!("{:#018x}", region.start),
                size(region.size),
                format!("r{write}{execute}"),
                region.key.to_string(),
                region.owner.clone(),
            ]);
        }
        out.table(&table)?;
        out.line("")?;
        out.line(format!(
            "{} {} in {} blocks of {} reserved; largest free block {}; {} allocations since boot",
            out.style().bold("heap:"),
            size(heap.used_bytes),
            heap.used_blocks,
            size(heap.reserved_bytes),
            size(heap.largest_free_bytes),
            heap.allocations
        ))
    }
}

/// Neighbours that differ in nothing, as one: a person does not care how many calls mapped them.
fn joined(regions: Vec<Region>) -> Vec<Region> {
    let mut joined: Vec<Region> = Vec::with_capacity(regions.len());
    for region in regions {
        match joined.last_mut() {
            Some(last)
                if last.start.checked_add(last.size) == Some(region.start)
                    && (last.access, last.key) == (region.access, region.key)
                    && last.owner == region.owner =>
            {
                last.size += region.size;
            }
            _ => joined.push(region),
        }
    }
    joined
}
