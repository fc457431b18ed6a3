//! Commands run without a process: what they write where, and their exit codes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;

struct Ran {
    code: u8,
    out: String,
    err: String,
}

fn run_with(args: &[&str], env: &[(&str, &str)], stdin: &str) -> Ran {
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut input = stdin.as_bytes();
    let mut world = World {
        env: &env,
        stdin: &mut input,
        stdout: &mut out,
        stderr: &mut err,
        default_file: Path::new("/nonexistent/evenkeel.toml"),
    };
    let args = std::iter::once("evenkeel").chain(args.iter().copied()).map(OsString::from);
    let code = run(args, &mut world);
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn ran(args: &[&str]) -> Ran {
    run_with(args, &[], "")
}

#[test]
fn the_definition_of_arguments_holds_together() {
    command().debug_assert();
}

#[test]
fn help_and_version_go_to_standard_output_with_exit_0() {
    for args in [&["--help"][..], &["-h"], &["serve", "--help"], &["config", "print", "--help"], &["help"]] {
        let ran = ran(args);
        assert_eq!((ran.code, ran.err.as_str()), (EXIT_FINE, ""), "{args:?}");
        assert!(ran.out.contains("Usage:"), "{args:?}");
    }
    for flag in ["-V", "--version"] {
        let ran = ran(&[flag]);
        assert_eq!((ran.code, ran.out), (EXIT_FINE, format!("evenkeel {}\n", env!("CARGO_PKG_VERSION"))));
    }
}

#[test]
fn wrong_arguments_go_to_standard_error_with_exit_2() {
    for args in [
        &["--prot", "1"][..],
        &["--port", "65536"],
        &["--port"],
        &["--host", "example.org"],
        &["--log-level", "loud"],
        &["--workers", "-1"],
        &["--max-connections", "0"],
        &["check", "x"],
        &["config"],
        &["completions", "cmd"],
        &["x", "check"],
        &["a", "b"],
    ] {
        let ran = ran(args);
        assert_eq!((ran.code, ran.out.as_str()), (EXIT_USAGE, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") || ran.err.contains("Usage:"), "{args:?}: {}", ran.err);
    }
}

#[test]
fn flags_stand_before_and_after_the_command() {
    for args in [&["--port", "81", "config", "print"][..], &["config", "print", "--port", "81"]] {
        let ran = ran(args);
        let line = ran.out.lines().find(|line| line.starts_with("port = 81")).unwrap();
        assert!(line.ends_with("# --port"), "{line}");
    }
}

#[test]
fn every_flag_of_the_schema_is_a_flag_of_the_command_line() {
    let command = command();
    for setting in config::SETTINGS.iter().filter(|setting| setting.flag.is_some()) {
        let long = setting.flag.unwrap().trim_start_matches("--");
        assert!(command.get_arguments().any(|arg| arg.get_long() == Some(long)), "{long}");
    }
}

#[test]
fn a_configuration_comes_from_standard_input_and_is_checked() {
    let good = run_with(&["check", "-c", "-"], &[("SERVER_PORT", "81")], "[server]\nhost = \"::1\"");
    assert_eq!(good.code, EXIT_FINE, "{}", good.err);
    assert_eq!(good.out, "the configuration is good: 3 routes on http://[::1]:81\n");
    let bad = run_with(&["check", "-c", "-"], &[("SERVER_PORT", "x")], "[server]\nprot = 1\nworkers = \"2\"");
    assert_eq!((bad.code, bad.out.as_str()), (EXIT_CONFIG, ""));
    assert_eq!(
        bad.err,
        "error: <stdin>:2:1: server.prot: unknown key; did you mean \"port\"?\n\
         error: <stdin>:3:11: server.workers: expected a whole number from 0 to 1024, found a string\n\
         error: SERVER_PORT: server.port: expected a whole number from 0 to 65535, found \"x\"\n"
    );
}

#[test]
fn a_configuration_that_is_not_there_is_exit_78() {
    let ran = ran(&["check", "--config", "/nonexistent/x.toml"]);
    assert_eq!(ran.code, EXIT_CONFIG);
    assert_eq!(ran.err, "error: /nonexistent/x.toml: there is no such file; give another with --config\n");
}

#[test]
fn a_folder_that_is_not_there_is_one_line_with_what_where_and_what_to_do() {
    let ran_it = ran(&["/nonexistent/site"]);
    assert_eq!(ran_it.code, EXIT_USAGE);
    assert_eq!(
        ran_it.err,
        "error: DIR: there is no folder \"/nonexistent/site\"; create it or name another\n"
    );
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let not_a_folder = ran(&["serve", file.to_str().unwrap()]);
    assert_eq!(not_a_folder.code, EXIT_USAGE);
    assert!(not_a_folder.err.contains("is not a folder"), "{}", not_a_folder.err);
    let misspelt = ran(&["chekc"]);
    assert!(misspelt.err.ends_with("(or was the command `check` meant?)\n"), "{}", misspelt.err);
}

#[test]
fn a_folder_of_the_file_that_is_not_there_is_exit_78() {
    for command in ["check", "serve"] {
        let ran = run_with(&[command, "-c", "-"], &[], "[[route]]\nfiles = \"/nonexistent/www\"");
        assert_eq!(ran.code, EXIT_CONFIG);
        assert!(ran.err.starts_with("error: <stdin>:2:9: route[0].files: there is no folder"), "{}", ran.err);
    }
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = ran(&["completions", shell]);
        assert_eq!(ran.code, EXIT_FINE);
        assert!(ran.out.contains("evenkeel") && ran.out.contains("max-connections"), "{shell}");
    }
}

#[test]
fn colour_is_for_terminals_without_no_color() {
    let env = |value: Option<&str>| -> BTreeMap<String, String> {
        value.map(|value| ("NO_COLOR".to_owned(), value.to_owned())).into_iter().collect()
    };
    assert!(colour(&env(None), true));
    assert!(colour(&env(Some("")), true));
    assert!(!colour(&env(Some("1")), true));
    assert!(!colour(&env(None), false));
}

/// Standard output that cannot be written to.
struct Broken(std::io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_answer_that_a_full_disk_did_not_take_is_exit_1_and_a_reader_that_has_gone_is_not() {
    use std::io::ErrorKind;
    for args in [&["config", "print"][..], &["check"], &["completions", "bash"], &["--help"], &["-V"]] {
        for (kind, code) in [(ErrorKind::StorageFull, EXIT_FAILED), (ErrorKind::BrokenPipe, EXIT_FINE)] {
            let (env, mut err) = (BTreeMap::<String, String>::new(), Vec::new());
            let mut world = World {
                env: &env,
                stdin: &mut std::io::empty(),
                stdout: &mut Broken(kind),
                stderr: &mut err,
                default_file: Path::new("/nonexistent/evenkeel.toml"),
            };
            let args = std::iter::once("evenkeel").chain(args.iter().copied()).map(OsString::from);
            let ran = run(args.collect::<Vec<_>>(), &mut world);
            let said = String::from_utf8(err).unwrap();
            assert_eq!((ran, said.starts_with("error: ")), (code, code == EXIT_FAILED), "{kind}: {said}");
        }
    }
}
