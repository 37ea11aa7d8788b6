mod settings;
fn main() {}
