//! What a batch changes in memory can be undone until its commit has returned.

/// A part of a worker's memory that is changed within batches.
pub trait Transactional {
    /// Makes permanent what the batch changed.
    fn commit(&mut self);

    /// Undoes what the batch changed.
    fn rollback(&mut self);

    /// Drops every partition that is not kept. No batch may have changed one of them.
    fn retain_partitions(&mut self, is_kept: &dyn Fn(i32) -> bool);

    /// Drops a partition.
    fn drop_partition(&mut self, partition: i32) {
        self.retain_partitions(&|kept| kept != partition);
    }
}
