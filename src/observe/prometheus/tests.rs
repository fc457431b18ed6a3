use super::*;
use crate::wire::http::Method;
use std::io::Write as _;
use std::process::{Command, Stdio};

fn snapshot() -> MetricsSnapshot {
    let mut tally = Tally::new(&["head", "idle"]);
    tally.exchange(Some(Method::Get), 200, 3, 10, 2000);
    tally.exchange(Some(Method::Other("BR\"EW\n")), 503, 70_000, 10, 20);
    tally.closed(0, Reason::HeadTimeout);
    tally.set_connections([1, 1].into_iter());
    tally.handshake(Handshake::Done);
    tally.refused(Refusal::ClientConnections);
    tally.dropped(DropPolicy::Oldest);
    tally.ws_messages_in = 7;
    (tally.speaker_waits, tally.publish_refusals) = (4, 5);
    MetricsSnapshot {
        tally,
        process: Process { cpu_seconds: 1.25, max_fds: Some(1024), ..Process::default() },
        max_connections: 10_000,
        memory_held_bytes: 1 << 20,
        memory_budget_bytes: 1 << 30,
        log_lines_dropped: 2,
        reloads: Reloads { applied: 3, refused: 1, applied_at: 1_700_000_000 },
        certificates: vec![("*.example.org".into(), 1_800_000_000)],
        draining: false,
        version: "0.1.0",
    }
}

#[test]
fn the_page_says_what_was_counted_in_both_forms() {
    let open = render(&snapshot(), Exposition::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    assert!(open.contains("# TYPE evenkeel_http_requests counter\n"));
    assert!(open.contains("# UNIT evenkeel_received_bytes bytes\n"));
    let text = render(&snapshot(), Exposition::Text);
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    assert!(text.contains("# TYPE evenkeel_http_requests_total counter\n"));
    assert!(text.contains("# HELP evenkeel_http_requests_total HTTP exchanges"));
    assert!(text.contains("# TYPE evenkeel_build_info gauge\n"));
    for page in [open, text] {
        for line in [
            "evenkeel_http_requests_total{method=\"GET\",status=\"2xx\"} 1",
            "evenkeel_http_requests_total{method=\"other\",status=\"5xx\"} 1",
            "evenkeel_http_request_duration_seconds_count 2",
            "evenkeel_http_request_duration_seconds_sum 70.003",
            "evenkeel_http_request_duration_seconds_bucket{le=\"0.005\"} 1",
            "evenkeel_http_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "evenkeel_http_response_body_bytes_total 2020",
            "evenkeel_connections{state=\"idle\"} 2",
            "evenkeel_connections_closed_total{state=\"head\",reason=\"head_timeout\"} 1",
            "evenkeel_refusals_total{cause=\"client_connections\"} 1",
            "evenkeel_tls_handshakes_total{result=\"ok\"} 1",
            "evenkeel_tls_certificate_expiry_timestamp_seconds{host=\"*.example.org\"} 1800000000",
            "evenkeel_websocket_messages_total{direction=\"in\"} 7",
            "evenkeel_slow_consumer_drops_total{policy=\"drop_oldest\"} 1",
            "evenkeel_speaker_waits_total 4",
            "evenkeel_publish_refusals_total 5",
            "evenkeel_reloads_total{result=\"refused\"} 1",
            "evenkeel_log_lines_dropped_total 2",
            "process_cpu_seconds_total 1.25",
            "process_max_fds 1024",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
        assert!(page.contains("evenkeel_build_info{version=\"0.1.0\",arch="));
    }
}

#[test]
fn every_family_has_one_type_and_help_and_its_samples_follow_it() {
    let page = render(&snapshot(), Exposition::Text);
    let mut seen = std::collections::HashSet::new();
    let mut family = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            assert!(seen.insert(family), "{family} twice");
            assert!(page.contains(&format!("# HELP {family} ")), "{family} has no help");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(family), "{line} is not of {family}");
        }
    }
    assert!(seen.len() > 35, "{}", seen.len());
}

#[test]
fn the_accept_field_chooses_the_form() {
    assert_eq!(Exposition::for_accept(None), Exposition::Text);
    assert_eq!(Exposition::for_accept(Some(b"*/*")), Exposition::Text);
    let prometheus = b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4";
    assert_eq!(Exposition::for_accept(Some(prometheus)), Exposition::OpenMetrics);
}

/// Needs a Python with `prometheus_client`: named by `TEST_PYTHON`, else `python3`. Without one it checks nothing and
/// says so.
#[test]
fn the_python_client_reads_both_forms() {
    let python = std::env::var("TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no Python with prometheus_client");
        return;
    }
    for (form, module, requests) in [
        (Exposition::Text, "prometheus_client.parser", "evenkeel_http_requests"),
        (Exposition::OpenMetrics, "prometheus_client.openmetrics.parser", "evenkeel_http_requests"),
    ] {
        let script = format!(
            "import sys\nfrom {module} import text_string_to_metric_families as parse\n\
             families = {{f.name: f for f in parse(sys.stdin.read())}}\n\
             assert families['{requests}'].type == 'counter'\n\
             assert families['evenkeel_http_request_duration_seconds'].type == 'histogram'\n\
             assert families['process_resident_memory_bytes'].type == 'gauge'\n\
             assert not [n for n, f in families.items() if f.type in ('unknown', 'untyped') or not f.documentation]\n\
             assert len(families) > 35, len(families)\n"
        );
        let mut child = Command::new(&python).args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(render(&snapshot(), form).as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{form:?}");
    }
}
