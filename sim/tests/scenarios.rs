//! Scenarios that were kept: each holds every check, and with its planted bugs breaks the one that it says.
//!
//! They are what shrinking has left of a failing seed. Unlike seeds they survive changes of how scenarios are drawn.

mod say;

use std::fs;
use std::path::{Path, PathBuf};

use godown_sim::campaign;
use godown_sim::scenario::text;
use godown_sim::world::Options;
#[cfg(madsim)]
use godown_sim::world::World;
use say::say;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(&folder).expect("there are scenarios");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

fn read(path: &Path) -> text::Kept {
    let text = fs::read_to_string(path).expect("it can be read");
    text::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_kept_scenario_holds_and_breaks_with_its_bug() {
    let files = files();
    assert!(files.len() >= 3, "{files:?}");
    for path in files {
        let kept = read(&path);
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let healthy = campaign::run_one(&kept.scenario, &Options::default());
        let told: Vec<String> = healthy.failures.iter().map(ToString::to_string).collect();
        assert_eq!(told, [""; 0], "{name}");
        if !kept.plants.is_empty() {
            let options = Options { plants: kept.plants.clone(), ..Options::default() };
            let broke = campaign::run_one(&kept.scenario, &options).broke();
            assert_eq!(broke, kept.breaks, "{name} with its planted bugs");
        }
        say(&format!("{name}: holds, and breaks as it says"));
    }
}

#[cfg(madsim)]
#[test]
fn every_kept_scenario_holds_on_madsims_network() {
    for path in files() {
        let options = Options { world: World::Madnet, ..Options::default() };
        let outcome = campaign::run_one(&read(&path).scenario, &options);
        assert_eq!(outcome.broke(), None, "{}: {:?}", path.display(), outcome.failures);
    }
}

#[test]
fn every_kept_scenario_is_written_as_it_is_read() {
    for path in files() {
        let text = fs::read_to_string(&path).expect("it can be read");
        assert_eq!(text::write(&read(&path)), text, "{}", path.display());
    }
}
