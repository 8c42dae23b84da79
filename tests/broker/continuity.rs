//! Continuity on a real Kafka: what is lost, moved or made anew stops a lane
//! before anything is released; ordinary days go on.

mod accepted;
mod clock;
mod keys;
mod lost;
mod moved;
mod ordinary;
mod town;

use town::Town;
