//! Locks files in a process of its own: `writer_locks DIRECTORY PATH...`. Prints `held`, or the reason why not, in one
//! line. Releases the locks and ends when its input ends. For tests with processes of the other kind.

use std::io::Read as _;
use std::path::Path;

use piecewise_io_daemon::disk::locks::Locks;
use piecewise_io_daemon::disk::path::FilePath;

fn main() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let directory = words.next().ok_or("no directory")?;
    let paths: Vec<_> =
        words.map(|path| FilePath::new(&path.split('/').collect::<Vec<_>>())).collect::<Result<_, _>>()?;
    let asked: Vec<_> = paths.iter().collect();
    let taken = Locks::default().acquire(Path::new(&directory), &asked, "held by the daemon", None);
    match &taken {
        Ok(_) => println!("held"),
        Err(failure) => println!("{failure}"),
    }
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(|error| error.to_string())?;
    Ok(())
}
