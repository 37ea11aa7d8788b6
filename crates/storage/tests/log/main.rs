//! Logs from outside: what comes back after appends, crashes and broken disks, and what a real
//! Kafka's files look like to us.

mod appending;
mod breaking;
mod compacting;
mod descriptors;
mod directories;
mod foreign_tools;
mod golden;
mod moving;
mod old_formats;
mod reading;
mod recovering;
mod room;
mod shrinking;
mod splitting;
mod stand;
mod times;
mod together;
mod windows;
