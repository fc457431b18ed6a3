//! What `check_disk` finds.

use super::*;

#[test]
fn a_folder_or_certificate_that_is_not_there_is_told_with_its_place() {
    let text = "[tls]\nenable = true\ncert = \"/nonexistent/c\"\nkey = \"/nonexistent/k\"\n\
                [[route]]\nfiles = \"/nonexistent/www\"";
    let errors: Vec<String> = read(text).unwrap().check_disk().iter().map(Error::to_string).collect();
    assert_eq!(
        errors,
        [
            "evenkeel.toml:6:9: route[0].files: there is no folder \"/nonexistent/www\"; create it or name another",
            "evenkeel.toml:3:8: tls.cert: there is no file \"/nonexistent/c\"; create it or name another",
            "evenkeel.toml:4:7: tls.key: there is no file \"/nonexistent/k\"; create it or name another",
        ]
    );
}

#[test]
fn a_page_for_errors_that_cannot_be_used_is_told_before_starting_finds_it() {
    let folder = std::env::temp_dir().join(format!("evenkeel-config-pages-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("404.html"), vec![b'x'; (64 << 10) + 1]).unwrap();
    let loaded = read(&format!("[server]\nerror_pages = {folder:?}")).unwrap();
    let errors: Vec<String> = loaded.check_disk().iter().map(Error::to_string).collect();
    let page = folder.join("404.html");
    let expected = format!("evenkeel.toml:2:15: server.error_pages: {}: longer than 64 KiB", page.display());
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(errors, [expected]);
}

#[test]
fn a_file_or_socket_that_could_not_be_made_is_told_with_its_place() {
    let text = "[server]\nadmin_socket = \"/nonexistent/a\"\n[log]\naccess_path = \"/nonexistent/b\"\n\
                [[listener]]\naddress = \"unix:/nonexistent/c\"\n\
                [[tcp]]\nhandler = \"echo\"\nlisten = \"unix:/\"";
    let wrong = |text: &str| -> Vec<String> {
        read(text).unwrap().check_disk().iter().map(Error::to_string).collect()
    };
    let lacking = "there is no folder \"/nonexistent\"; create it or name another";
    assert_eq!(
        wrong(text),
        [
            format!("evenkeel.toml:2:16: server.admin_socket: {lacking}"),
            format!("evenkeel.toml:4:15: log.access_path: {lacking}"),
            format!("evenkeel.toml:6:11: listener[0].address: {lacking}"),
            "evenkeel.toml:9:10: tcp[0].listen: \"/\" is a folder; name a file in it".to_owned(),
        ]
    );
    let fine = "[log]\naccess_path = \"/dev/stdout\"\n[[listener]]\naddress = \"unix:not-there-yet\"";
    assert_eq!(wrong(fine), [""; 0]);
    assert_eq!(wrong("[log]\naccess = \"off\"\naccess_path = \"/nonexistent/b\""), [""; 0], "not opened");
}

#[test]
fn a_pipe_is_no_page_for_errors_and_no_certificate_and_is_not_waited_for() {
    let scrap = Scrap::new("pipes");
    let pipe = scrap.0.join("404.html");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let text = format!(
        "[server]\nerror_pages = {:?}\n[tls]\nenable = true\ncert = {pipe:?}\nkey = \"/dev/zero\"\nclient_ca = {pipe:?}",
        scrap.0
    );
    let errors: Vec<String> = read(&text).unwrap().check_disk().iter().map(Error::to_string).collect();
    let once = "cannot be read: it is a pipe or a device, which can be read but once; put it into a file";
    assert_eq!(
        errors,
        [
            format!("evenkeel.toml:2:15: server.error_pages: {}: not a file", pipe.display()),
            format!("evenkeel.toml:5:8: tls.cert: {pipe:?} {once}"),
            format!("evenkeel.toml:6:7: tls.key: \"/dev/zero\" {once}"),
            format!("evenkeel.toml:7:13: tls.client_ca: {pipe:?} {once}"),
        ]
    );
}

/// A folder that goes with the test.
struct Scrap(PathBuf);

impl Scrap {
    fn new(name: &str) -> Scrap {
        let path = std::env::temp_dir().join(format!("evenkeel-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scrap(path)
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_no_socket_where_a_socket_is_to_be_is_told_with_its_place() {
    let scrap = Scrap::new("sockets");
    let at = |name: &str| scrap.0.join(name).display().to_string();
    std::fs::write(at("file"), "").unwrap();
    let _answering = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    std::os::unix::fs::symlink(at("socket"), at("link")).unwrap();
    let text = format!(
        "[server]\nadmin_socket = \"{0}\"\n[log]\naccess_path = \"{0}\"\n[[listener]]\naddress = \"unix:{1}\"\n\
         [[listener]]\naddress = \"unix:{2}\"\n[[tcp]]\nhandler = \"echo\"\nlisten = \"unix:{0}x\"",
        at("file"),
        at("link"),
        at("socket"),
    );
    let loaded = read(&text).unwrap();
    let errors: Vec<String> = loaded.check_disk().iter().map(Error::to_string).collect();
    let wrong = "is there and is no socket; move it away or name another";
    assert_eq!(
        errors,
        [
            format!("evenkeel.toml:2:16: server.admin_socket: {:?} {wrong}", at("file")),
            format!("evenkeel.toml:6:11: listener[0].address: {:?} {wrong}", at("link")),
        ]
    );
}
