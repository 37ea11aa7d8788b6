//! The Fetch response: header bytes around slices it never opens or copies.
