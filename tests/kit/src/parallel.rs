//! Several cases of one long test at a time.

use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

/// Calls `run` for each item, as many at a time as there are cores, and returns what came of
/// them, in no order.
///
/// # Panics
///
/// Where `run` does.
pub fn map_parallel<T: Send, R: Send>(
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    run: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let waiting = Mutex::new(items.into_iter());
    let done = Mutex::new(Vec::new());
    let next = || waiting.lock().expect("taking an item does not fail").next();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = next() {
                    let result = run(item);
                    done.lock().expect("keeping a result does not fail").push(result);
                }
            });
        }
    });
    done.into_inner().expect("keeping a result does not fail")
}
