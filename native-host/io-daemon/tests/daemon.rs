//! All tests of the daemon but those of its load, as one program: each program is linked with all that the daemon uses,
//! which takes longer than most tests.

mod access;
mod aside;
mod disk_faults;
mod files;
mod names;
mod pieces;
mod process;
mod roots;
mod serve;
mod sets;
mod sockets;
mod support;

/// Besides this program, and the one of the load, which raises its own limit of descriptors.
#[test]
fn every_file_of_tests_is_part_of_a_program() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let left_out: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !["daemon", "load"].contains(&name.as_str()))
        .filter(|name| !include_str!("daemon.rs").contains(&format!("\nmod {name};\n")))
        .collect();

    assert_eq!(left_out, [] as [String; 0]);
}
