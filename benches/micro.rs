//! How long the hot pure parts take: `make bench-micro`, or `cargo bench --bench micro -- PART`.
//!
//! Criterion's statistics over the cases of `cases/`. On a machine that does other work as well the
//! numbers move by tens of per cent; whether a change made something dearer is for `counts.rs`.

mod cases;

use cases::{Case, Meter, Work};
use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;

/// Inputs that are made at once, so that reading the clock costs nothing beside the runs between.
const BATCH: BatchSize = BatchSize::NumIterations(64);

struct Timed {
    criterion: Criterion,
    name: &'static str,
    work: Work,
}

impl Meter for Timed {
    fn measure<I, O>(
        &mut self,
        mut prepare: impl FnMut() -> I,
        mut run: impl FnMut(I) -> O,
        check: impl Fn(&O),
    ) {
        check(&run(prepare()));
        // Names are unique, so each case is a group of its own part of the name.
        let (part, what) = self.name.split_once('/').expect("a name is part/what");
        let mut group = self.criterion.benchmark_group(part);
        group.throughput(match self.work {
            Work::Bytes(bytes) => Throughput::Bytes(bytes),
            Work::Elements(count) => Throughput::Elements(count),
        });
        group.bench_function(what, |bencher| {
            bencher.iter_batched(&mut prepare, |input| run(black_box(input)), BATCH);
        });
        group.finish();
        check(&run(prepare()));
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for Case { name, work, run } in cases::all() {
        let mut timed = Timed { criterion, name, work };
        run(&mut timed);
        criterion = timed.criterion;
    }
    criterion.final_summary();
}
