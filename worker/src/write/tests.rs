//! The write stage as a whole, against a store in memory.

mod budget;
mod dead_letters;
mod encodings;
mod glue;
mod round_trip;
mod world;

#[test]
fn a_lane_can_move_to_another_thread() {
    fn moves<T: Send + 'static>() {}
    moves::<super::LaneWriter>();
    moves::<super::PendingFiles>();
}
