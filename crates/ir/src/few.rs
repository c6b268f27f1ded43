//! Owns [`Few`]: a list that is mostly of one thing, and then allocates nothing.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// Any number of things in order; up to one of them lies in the value itself.
#[derive(Clone)]
pub enum Few<T> {
    /// None, or one.
    One(Option<T>),
    /// Any number.
    Many(Vec<T>),
}

impl<T> Few<T> {
    /// None.
    pub const NONE: Self = Self::One(None);
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::NONE
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => one.as_slice(),
            Self::Many(many) => many,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(one) => one.as_mut_slice(),
            Self::Many(many) => many,
        }
    }
}

impl<T> From<T> for Few<T> {
    fn from(one: T) -> Self {
        Self::One(Some(one))
    }
}

impl<T> From<Option<T>> for Few<T> {
    fn from(one: Option<T>) -> Self {
        Self::One(one)
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(things: I) -> Self {
        let mut things = things.into_iter();
        let Some(first) = things.next() else { return Self::NONE };
        let Some(second) = things.next() else { return Self::One(Some(first)) };
        let mut many = Vec::with_capacity(2 + things.size_hint().0);
        many.extend([first, second]);
        many.extend(things);
        Self::Many(many)
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T: Ord> PartialOrd for Few<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> Ord for Few<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_in_order_however_many() {
        for count in 0..5_u32 {
            let mut few: Few<u32> = (0..count).collect();
            assert!(few.iter().copied().eq(0..count), "{few:?}");
            assert_eq!(matches!(few, Few::Many(_)), count > 1, "one lies in the value itself");
            assert_eq!(few, Few::Many((0..count).collect()), "alike, wherever they lie");
            few.iter_mut().for_each(|thing| *thing += 1);
            assert!(few.iter().copied().eq(1..=count));
        }
    }
}
