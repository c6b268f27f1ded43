//! crosstie
