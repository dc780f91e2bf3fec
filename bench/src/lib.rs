//! What the benchmarks of Sluice have in common: what played pods tell, what was counted, and how it is shown. Pure.

pub mod audit;
pub mod figures;
pub mod results;
pub mod shapes;
pub mod traffic;
