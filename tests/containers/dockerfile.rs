//! The Dockerfile: that it names what the program is built from, and, run by hand in a directory of its own, that its steps
//! make the program.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{ROOT, documents, pinned, read, text};

/// The user that the image runs as.
const USER: u32 = 10001;

/// An instruction and its arguments, lines put together.
type Instruction = (String, String);

fn instructions() -> Vec<Instruction> {
    let whole = read("Dockerfile");
    let lines = whole.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim().is_empty());
    let split = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), rest.trim().to_owned())
    };
    lines.map(split).collect()
}

/// The instructions of each stage, beginning with FROM.
fn stages() -> Vec<Vec<Instruction>> {
    let mut stages: Vec<Vec<Instruction>> = Vec::new();
    for instruction in instructions() {
        if instruction.0 == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().expect("FROM comes first").push(instruction);
    }
    stages
}

fn all_of<'a>(stage: &'a [Instruction], name: &str) -> Vec<&'a str> {
    let of_name = stage.iter().filter(|(it, _)| it == name);
    of_name.map(|(_, arguments)| arguments.as_str()).collect()
}

/// What a stage copies from the context.
fn copied(stage: &[Instruction]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for arguments in all_of(stage, "COPY").iter().filter(|it| !it.starts_with("--from")) {
        let mut words: Vec<&str> = arguments.split_whitespace().collect();
        words.pop();
        names.extend(words.into_iter().map(str::to_owned));
    }
    names
}

/// What .dockerignore lets into the context.
fn context() -> BTreeSet<String> {
    let ignored = read(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "all is left out that is not named");
    let allowed = lines.map(|line| line.strip_prefix('!').unwrap_or_else(|| panic!("{line}")).to_owned());
    allowed.collect()
}

/// Files of the tree that the sources take into the program, and the sources.
fn needed_by_the_program(folder: &Path, needed: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder)
        .expect("readable")
        .map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            needed_by_the_program(&entry, needed);
            continue;
        }
        if entry.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(&entry).expect("readable");
        for macro_name in ["include_str!(\"", "include_bytes!(\""] {
            for (at, _) in source.match_indices(macro_name) {
                let path = source[at + macro_name.len()..].split('"').next().expect("a path");
                let mut whole = entry.parent().expect("a folder").to_owned();
                for part in Path::new(path).components() {
                    match part {
                        std::path::Component::ParentDir => assert!(whole.pop()),
                        other => whole.push(other),
                    }
                }
                let below_root = whole.strip_prefix(ROOT).expect("in the tree");
                let top = below_root.components().next().expect("a name");
                needed.insert(top.as_os_str().to_string_lossy().into_owned());
            }
        }
    }
}

#[test]
fn all_that_the_program_is_made_of_is_copied() {
    let mut needed = BTreeSet::from(["Cargo.toml", "Cargo.lock", "src"].map(str::to_owned));
    needed_by_the_program(&Path::new(ROOT).join("src"), &mut needed);
    assert!(needed.contains("cql"), "{needed:?}");
    assert_eq!(
        copied(&stages()[0]),
        needed,
        "what the Dockerfile copies, and what src/ includes"
    );
    assert_eq!(
        context(),
        needed,
        "what .dockerignore lets through, and what src/ includes"
    );
}

/// Cargo wants to see a file for each target that it has to guess the place of.
#[test]
fn stand_ins_are_made_for_all_targets() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let stage = &stages()[0];
    let dependencies = all_of(stage, "RUN").into_iter().find(|run| run.contains("fn main()"));
    let dependencies = dependencies.expect("a step for the dependencies");
    for bench in manifest["bench"].as_array().expect("benches") {
        let file = format!("benches/{}.rs", bench["name"].as_str().expect("a name"));
        assert!(dependencies.contains(&file), "{file}");
    }
}

#[test]
fn both_stages_are_of_one_debian_and_the_compiler_is_new_enough() {
    let stages = stages();
    let [build, run] = &stages[..] else {
        panic!("two stages")
    };
    let image = |stage: &[Instruction]| stage[0].1.split(' ').next().expect("an image").to_owned();
    let (build, run) = (image(build), image(run));
    assert!(
        pinned(&build).ends_with("bookworm") && pinned(&run).starts_with("bookworm"),
        "{build}, {run}"
    );
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let version = |text: &str| -> Vec<u32> { text.split('.').filter_map(|part| part.parse().ok()).collect() };
    let least = manifest["package"]["rust-version"].as_str().expect("a version");
    let compiler = pinned(&build).split('-').next().expect("a version");
    assert!(version(compiler) >= version(least), "{compiler} is older than {least}");
}

#[test]
fn the_image_runs_the_program_as_a_user_without_rights() {
    let stages = stages();
    let run = stages.last().expect("a stage");
    assert_eq!(all_of(run, "ENTRYPOINT"), ["[\"iotpipe\"]"]);
    assert_eq!(all_of(run, "USER"), [format!("{USER}:{USER}")]);
    let home = all_of(run, "WORKDIR")[0];
    let made = all_of(run, "RUN").concat();
    assert!(
        made.contains(&format!("useradd --uid {USER} --user-group")) && made.contains(home),
        "{made}"
    );
    let consumer = &documents("deploy/kubernetes/consumer.yaml")[0];
    let pod = &consumer["spec"]["template"]["spec"]["securityContext"];
    assert_eq!(
        (pod["runAsUser"].as_u64(), pod["runAsGroup"].as_u64()),
        (Some(USER.into()), Some(USER.into()))
    );
}

/// Carries out a COPY of the context.
fn copy(arguments: &str, directory: &Path) {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let (target, sources) = words.split_last().expect("a target");
    for source in sources {
        // A directory's content goes into the target, a file goes by its name.
        let from = Path::new(ROOT).join(source);
        let (from, to) = match from.is_dir() {
            true => (from.join("."), directory.join(target)),
            false => (from, directory.join(target).join(source)),
        };
        fs::create_dir_all(to.parent().expect("a folder")).expect("writable");
        let status = Command::new("cp").arg("--recursive").args([&from, &to]).status();
        assert!(status.is_ok_and(|status| status.success()), "COPY {arguments}");
    }
}

/// Carries out a RUN; answers the crates that were compiled in it.
fn carry_out(command: &str, directory: &Path) -> Vec<String> {
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(directory)
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_TERM_COLOR", "never")
        .stdin(Stdio::null())
        .output()
        .expect("sh runs");
    let said = text(&output.stderr);
    assert!(output.status.success(), "RUN {command}: {said}");
    let compiled = said
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("Compiling "));
    compiled
        .map(|rest| rest.split(' ').next().expect("a name").to_owned())
        .collect()
}

#[test]
#[ignore = "builds everything anew, without line tables: several minutes"]
fn the_steps_of_the_dockerfile_make_the_program() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let build = directory.path();
    let mut compiled: Vec<Vec<String>> = Vec::new();
    for (name, arguments) in &stages()[0] {
        match name.as_str() {
            "FROM" | "WORKDIR" => {}
            // The tools that CI has.
            "RUN" if arguments.starts_with("apt-get ") => {}
            "RUN" => compiled.push(carry_out(arguments, build)),
            "COPY" => copy(arguments, build),
            other => panic!("{other} is not known here"),
        }
    }
    // The layer of the dependencies holds all of them, so that a change of the program compiles the program alone.
    assert!(
        compiled[0].len() > 100 && compiled[0].contains(&"rdkafka-sys".to_owned()),
        "{compiled:?}"
    );
    assert_eq!(compiled[1], ["iotpipe"]);

    let place = tempfile::tempdir().expect("a directory");
    let program = put_where_all_can_read(build, place.path());
    let linked = Command::new("ldd").arg(&program).output().expect("ldd runs");
    for library in text(&linked.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        let name = library.rsplit('/').next().expect("a name");
        // All that Debian's slim image has of libraries that it could want.
        let known = [
            "linux-vdso.so.1",
            "libgcc_s.so.1",
            "libm.so.6",
            "libc.so.6",
            "ld-linux-x86-64.so.2",
            "ld-linux-aarch64.so.1",
        ];
        assert!(known.contains(&name), "{library} is in no slim image");
    }
    let output = as_another_user(&program, &["demo", "--duration", "3s"]);
    assert!(output.0, "{}", output.1);
}

/// Puts what the last stage copies there.
fn put_where_all_can_read(build: &Path, place: &Path) -> PathBuf {
    let stages = stages();
    let last = all_of(stages.last().expect("a stage"), "COPY")[0];
    let source = last.split_whitespace().nth(1).expect("a source");
    let built = build.join(source.strip_prefix("/build/").expect("below the work directory"));
    let program = place.join("iotpipe");
    fs::copy(built, &program).expect("built");
    for path in [place, &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    program
}

/// Runs it with an empty environment in the root directory; as the user of the image where that is ours to decide.
fn as_another_user(program: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null());
    let id = Command::new("id").arg("-u").output().expect("id runs");
    if text(&id.stdout).trim() == "0" {
        command.uid(USER).gid(USER);
    }
    let output = command.output().expect("the program starts");
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}
