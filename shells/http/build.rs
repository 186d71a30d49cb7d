//! Builds the crate anew when the page was: its files have other names then, which the compiler alone would not notice.

fn main() {
    let built = std::path::Path::new("../ui/dist");
    // A path that is not there would count as changed each time.
    let watched = if built.is_dir() { "../ui/dist" } else { "../ui" };
    println!("cargo:rerun-if-changed={watched}");
}
