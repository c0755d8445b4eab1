//! Ids alone, one a line, for `$(…)` and `xargs`.

use std::io;

use super::{Out, Record};

pub(super) fn print<T: Record>(out: &Out, items: &[T]) -> io::Result<()> {
    items.iter().try_for_each(|item| out.line(&item.id()))
}
