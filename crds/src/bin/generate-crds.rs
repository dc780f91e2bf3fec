//! Writes `crds/*.yaml`, the templates of the chart and the field reference in `docs/reference/` from the types; with `--check` it only
//! compares, and exits with 1 when a file is out of date.

use std::path::Path;
use std::process::ExitCode;

use sluice_crds::crd::Kind;

fn main() -> ExitCode {
    let check = std::env::args().skip(1).any(|argument| argument == "--check");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let templates = folder.join("../charts/sluice/templates/crds");
    let pages = folder.join("../docs/reference");
    let mut code = ExitCode::SUCCESS;
    for kind in Kind::ALL {
        for (path, text) in [
            (folder.join(kind.file_name()), kind.yaml()),
            (templates.join(kind.file_name()), kind.chart_template()),
            (pages.join(kind.page_name()), Ok(kind.page())),
        ] {
            let made = text.map_err(|error| format!("{}: {error}", kind.as_str()));
            if let Err(problem) = made.and_then(|text| write(&path, &text, check)) {
                say(&problem);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn write(path: &Path, wanted: &str, check: bool) -> Result<(), String> {
    if !check {
        return std::fs::write(path, wanted).map_err(|error| format!("{}: {error}", path.display()));
    }
    let committed = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match committed.lines().zip(wanted.lines()).position(|(old, new)| old != new) {
        None if committed.len() == wanted.len() => Ok(()),
        first => {
            let line = first.unwrap_or_else(|| committed.lines().count().min(wanted.lines().count())) + 1;
            Err(format!("{}:{line}: differs from the types: run `make generate` and commit the result", path.display()))
        }
    }
}

/// Tells a person at a terminal.
#[allow(clippy::print_stderr)]
fn say(text: &str) {
    eprintln!("{text}");
}
