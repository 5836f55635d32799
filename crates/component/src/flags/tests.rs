//! The grammar, case by case as real Thanos was seen to behave.

use std::time::Duration;

use super::groups::{Common, GrpcClient, GrpcServer, Http};
use super::*;

#[derive(Debug)]
struct Sample {
    http: Http,
    grpc: GrpcServer,
    dir: String,
    wait: bool,
    labels: Vec<String>,
    pool: u64,
    min_time: TimeOrDuration,
    endpoints: Vec<String>,
    limit: u64,
    count: i64,
    objstore: PathOrContent,
}

impl Args for Sample {
    fn declare(d: &mut Declare<'_>) -> Self {
        Sample {
            http: Http::declare(d),
            grpc: GrpcServer::declare(d),
            dir: d.flag("data-dir", "Where.").default("./data").string(),
            wait: d.flag("wait", "Wait.").short('w').bool(),
            labels: d.flag("label", "Label.").strings(),
            pool: d.flag("chunk-pool-size", "Pool.").default("2GB").bytes(),
            min_time: d.flag("min-time", "From.").default("0000-01-01T00:00:00Z").time_or_duration(),
            endpoints: d.flag("endpoint", "Where to.").addresses(),
            limit: d.flag("limit", "Most.").default("0").uint64(),
            count: d.flag("count", "How many.").default("20").int(),
            objstore: groups::objstore(d, false),
        }
    }
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|w| (*w).to_owned()).collect()
}

/// The values, or the exit status with the message.
fn run(line: &[&str]) -> Result<Read<Sample>, (u8, String)> {
    let common = specs::<Common>();
    let verbs = [
        Verb { name: "store", about: "", flags: specs::<Sample>() },
        Verb { name: "query", about: "", flags: specs::<Http>() },
    ];
    let parsed = parse(&common, &verbs, &words(line)).map_err(|e| (1, e.to_string()))?;
    read(&parsed, |d| {
        Common::declare(d);
        Sample::declare(d)
    })
    .map_err(|e| (2, e))
}

fn values(line: &[&str]) -> Sample {
    run(line).unwrap_or_else(|e| panic!("{line:?}: {e:?}")).values
}

fn fails(line: &[&str]) -> (u8, String) {
    match run(line) {
        Ok(read) => panic!("{line:?} gave {read:?}"),
        Err(e) => e,
    }
}

#[test]
fn values_in_both_forms_and_defaults() {
    let v = values(&["store"]);
    assert_eq!((v.dir.as_str(), v.wait, v.pool), ("./data", false, 2 << 30));
    assert_eq!(v.grpc.max_connection_age, Duration::from_secs(3600));
    assert_eq!(v.http.address, "0.0.0.0:10902");
    assert_eq!(v.min_time, TimeOrDuration::Time(-62_167_219_200_000));
    let v = values(&[
        "--log.level=debug",
        "store",
        "--data-dir",
        "/x",
        "--wait",
        "--label=a=\"b\"",
        "--label",
        "c",
        "--min-time=-1d",
        "--count=1.9",
        "--limit=0x1_0",
        "--endpoint=dns+a",
        "--endpoint",
        "b:1",
        "--log.format=json",
    ]);
    assert_eq!((v.dir.as_str(), v.wait), ("/x", true));
    assert_eq!(v.labels, ["a=\"b\"", "c"]);
    assert_eq!(v.endpoints, ["dns+a", "b:1"]);
    assert_eq!((v.min_time, v.count, v.limit), (TimeOrDuration::FromNow(-86_400_000), 1, 16));
    assert!(!values(&["store", "--no-wait"]).wait);
    assert!(values(&["store", "-w"]).wait);
    assert_eq!(values(&["store", "--data-dir="]).dir, "");
    assert_eq!(values(&["store", "--label="]).labels, [""]);
}

#[test]
fn lexical_errors_exit_1_and_come_before_value_errors() {
    for (line, message) in [
        (&["store", "--wibble"] as &[_], "unknown long flag '--wibble'"),
        (&["store", "--no-data-dir"], "unknown long flag '--no-data-dir'"),
        (&["store", "--no-data-dir=x"], "unknown long flag '--no-data-dir'"),
        (&["store", "--wait=true"], "unexpected true"),
        (&["store", "--wait", "true"], "unexpected true"),
        (&["store", "-w=true"], "unknown short flag '-='"),
        (&["store", "-x"], "unknown short flag '-x'"),
        (&["store", "-"], "unexpected "),
        (&["store", "extra"], "unexpected extra"),
        (&["store", "--", "--wait"], "unexpected --wait"),
        (&["nosuch"], "expected command but got \"nosuch\""),
        (&["store", "--data-dir"], "expected argument for flag '--data-dir'"),
        (&["store", "--data-dir", "--wait"], "expected argument for flag '--data-dir'"),
        (&["--data-dir=x", "store"], "unknown long flag '--data-dir'"),
        (&["store", "--count=x", "--wibble"], "unknown long flag '--wibble'"),
        (&["store", "--Data-Dir=x"], "unknown long flag '--Data-Dir'"),
        (&["store", "@"], "expected @ file to expand arguments from"),
        (
            &["store", "@/nonexist"],
            "failed to open arguments file \"/nonexist\": open /nonexist: no such file or directory",
        ),
    ] {
        assert_eq!(fails(line), (1, message.to_owned()), "{line:?}");
    }
}

#[test]
fn value_errors_exit_2_and_the_leftmost_counts() {
    for (line, message) in [
        (&["--data-dir=a", "--data-dir=b"] as &[_], "flag 'data-dir' cannot be repeated"),
        (&["--wait", "--no-wait"], "flag 'wait' cannot be repeated"),
        (&["--grpc-grace-period="], "time: invalid duration \"\""),
        (&["--grpc-grace-period=1y"], "time: unknown unit \"y\" in duration \"1y\""),
        (&["--grpc-grace-period=5"], "time: missing unit in duration \"5\""),
        (&["--http-grace-period=-1m"], "not a valid duration string: \"-1m\""),
        (&["--http-grace-period=1.5m"], "not a valid duration string: \"1.5m\""),
        (&["--http-grace-period="], "empty duration string"),
        (&["--min-time=xx"], "not a valid duration string: \"xx\""),
        (&["--min-time="], "empty duration string"),
        (&["--log.level=foo"], "enum value must be one of error,warn,info,debug, got 'foo'"),
        (&["--chunk-pool-size=2048"], "units: unknown unit  in 2048"),
        (&["--chunk-pool-size=2g"], "units: unknown unit g in 2g"),
        (&["--chunk-pool-size=2Gi"], "units: unknown unit Gi in 2Gi"),
        (&["--chunk-pool-size=2kB"], "units: unknown unit kB in 2kB"),
        (&["--chunk-pool-size="], "units: invalid "),
        (&["--count=x"], "strconv.ParseFloat: parsing \"x\": invalid syntax"),
        (&["--count=0x10"], "strconv.ParseFloat: parsing \"0x10\": invalid syntax"),
        (&["--limit=-1"], "strconv.ParseUint: parsing \"-1\": invalid syntax"),
        (&["--endpoint="], "Address is empty."),
        (&["--endpoint=foo"], "Address foo is not of <host>:<port> format or a valid DNS query."),
        (&["--count=x", "--limit=y"], "strconv.ParseFloat: parsing \"x\": invalid syntax"),
        (&["--limit=y", "--count=x"], "strconv.ParseUint: parsing \"y\": invalid syntax"),
    ] {
        let line: Vec<&str> = std::iter::once("store").chain(line.iter().copied()).collect();
        assert_eq!(fails(&line), (2, message.to_owned()), "{line:?}");
    }
    let twice = ["--log.level=info", "store", "--log.level=info"];
    assert_eq!(fails(&twice), (2, "flag 'log.level' cannot be repeated".to_owned()));
}

#[test]
fn argument_files_are_spliced_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("args");
    std::fs::write(&path, "# comment\n--data-dir=@literal\n\n--label\nx y\n").unwrap();
    let v = values(&["store", &format!("@{}", path.display()), "--wait"]);
    assert_eq!((v.dir.as_str(), v.wait), ("@literal", true));
    assert_eq!(v.labels, ["x y"]);
    std::fs::write(&path, format!("@{}\n@{}\n", path.display(), path.display())).unwrap();
    assert_eq!(fails(&["store", &format!("@{}", path.display())]).0, 1, "a file naming itself ends");
}

#[test]
fn a_single_service_needs_no_verb() {
    let verbs = [Verb { name: "store", about: "", flags: specs::<Sample>() }];
    let ok = |line: &[&str]| parse(&[], &verbs, &words(line)).map(|p| p.verb);
    assert_eq!(ok(&["--data-dir=x"]), Ok(Some(0)));
    assert_eq!(ok(&["store", "--data-dir=x"]), Ok(Some(0)));
    assert_eq!(ok(&["--wait", "store", "--data-dir=x"]), Ok(Some(0)));
    assert_eq!(ok(&["store", "store"]), Err(ParseError::Unexpected("store".to_owned())));
    assert_eq!(ok(&["query"]), Err(ParseError::NotAVerb("query".to_owned())));
}

#[test]
fn shown_as_status_flags_shows() {
    let shown = run(&["store", "--label=a", "--label=b", "--objstore.config=secret"]).unwrap().shown;
    for (flag, text) in [
        ("grpc-grace-period", "2m0s"),
        ("grpc-server-max-connection-age", "1h0m0s"),
        ("http-grace-period", "2m"),
        ("chunk-pool-size", "2GiB"),
        ("min-time", "0000-01-01 00:00:00 +0000 UTC"),
        ("label", "a,b"),
        ("wait", "false"),
        ("objstore.config", "<REDACTED>"),
        ("objstore.config-file", "<REDACTED>"),
    ] {
        assert_eq!(shown[flag], text, "{flag}");
    }
}

#[test]
fn documents_by_path_or_inline() {
    let both = values(&["store", "--objstore.config=a", "--objstore.config-file=b"]).objstore;
    let message = both.content().unwrap_err().to_string();
    assert_eq!(message, "both objstore.config-file and objstore.config flags set.");
    assert_eq!(values(&["store"]).objstore.content().unwrap(), None);
    let inline = values(&["store", "--objstore.config=\n a: $(X) $( $(Y-) $(X"]).objstore;
    let variable = |name: &str| (name == "X").then(|| "1\n".to_owned());
    assert_eq!(inline.content_with(variable).unwrap().unwrap(), "\n a: 1\n $( $(Y-) $(X");
    assert_eq!(
        inline.content_with(|_| None).unwrap_err().to_string(),
        "found reference to unset environment variable \"X\""
    );
    let gone = values(&["store", "--objstore.config-file=/nonexist"]).objstore;
    assert!(
        gone.content()
            .unwrap_err()
            .to_string()
            .starts_with("loading file /nonexist for objstore.config-file")
    );
    let required = read(&Parsed::default(), |d| groups::objstore(d, true)).unwrap().values;
    assert_eq!(
        required.content().unwrap_err().to_string(),
        "flag objstore.config-file or objstore.config is required for running this command and content \
         cannot be empty."
    );
}

#[test]
fn sizes_and_durations() {
    for (text, bytes) in [
        ("0", 0),
        ("2GB", 2i64 << 30),
        ("2GiB", 2 << 30),
        ("1.5GB", 3 << 29),
        ("1GB512MB", 3 << 29),
        ("7B", 7),
    ] {
        assert_eq!(value::bytes(text), Ok(bytes), "{text}");
    }
    for (n, text) in [(0, "0B"), (250 << 20, "250MiB"), (3 << 29, "1GiB512MiB"), (1025, "1KiB1B")] {
        assert_eq!(value::show_bytes(n), text);
    }
    let hour = 3_600_000_000_000i64;
    for (text, nanos) in [
        ("1h30m", hour + hour / 2),
        ("-1.5h", -hour - hour / 2),
        ("0", 0),
        ("2w1d", 15 * 24 * hour),
        ("1µs", 1000),
        (".5s", 500_000_000),
        ("100ms", 100_000_000),
    ] {
        assert_eq!(value::go_duration(text), Ok(nanos), "{text}");
    }
    for (nanos, text) in [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (2_000_000, "2ms"),
        (1_500_000_000, "1.5s"),
        (120_000_000_000, "2m0s"),
        (hour, "1h0m0s"),
        (-hour - 500_000_000, "-1h0m0.5s"),
    ] {
        assert_eq!(value::show_go_duration(nanos), text);
    }
    let day = 86_400_000;
    for (text, millis) in
        [("1y", 365 * day), ("1d12h", day * 3 / 2), ("90m", 5_400_000), ("0", 0), ("5ms", 5)]
    {
        assert_eq!(value::prom_duration(text), Ok(millis), "{text}");
    }
    for bad in ["1m1d", "1m1m", "1", "ms", "1us", "1h ", "9999999999y", "99999999999999999999s"] {
        assert!(value::prom_duration(bad).is_err(), "{bad}");
    }
    for (millis, text) in
        [(day, "1d"), (7 * day, "1w"), (8 * day, "8d"), (90 * 60_000, "1h30m"), (1_500, "1s500ms")]
    {
        assert_eq!(value::show_prom_duration(millis), text);
    }
}

#[test]
fn help_lists_every_visible_flag_once() {
    let verbs = [Verb { name: "store", about: "Serves.", flags: specs::<Sample>() }];
    let common = specs::<Common>();
    let text = usage("athanor", "About.", &common, &verbs, Some(0));
    for spec in common.iter().chain(&verbs[0].flags) {
        let head = if spec.kind == Kind::Bool { "--[no-]" } else { "--" };
        let tail = if spec.kind == Kind::Bool { "" } else { "=" };
        let found = text.lines().filter(|l| {
            let after = l.trim_start().trim_start_matches("-h, ").trim_start_matches("-w, ");
            after.split([' ', '=']).next() == Some(&format!("{head}{}", spec.name)) && after.contains(tail)
        });
        assert_eq!(found.count(), usize::from(!spec.hidden), "{}\n{text}", spec.name);
    }
}

#[test]
fn groups_declare_thanos_flags() {
    let names = |specs: Vec<Spec>| specs.into_iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(names(specs::<GrpcServer>()).len(), 9);
    assert_eq!(names(specs::<GrpcClient>()).len(), 8);
    assert!(names(specs::<Common>()).contains(&"tracing.config-file".to_owned()));
}

proptest::proptest! {
    #[test]
    fn go_durations_read_back(nanos in i64::MIN / 2..i64::MAX / 2) {
        let shown = value::show_go_duration(nanos);
        let back = value::go_duration(&shown).unwrap();
        // Sums of float parts may lose nanoseconds past 2^53.
        proptest::prop_assert!((back - nanos).abs() <= 1, "{nanos} {shown} {back}");
    }

    #[test]
    fn prom_durations_read_back(millis in 0i64..9_000_000_000_000) {
        proptest::prop_assert_eq!(value::prom_duration(&value::show_prom_duration(millis)), Ok(millis));
    }

    #[test]
    fn no_value_panics(text in "\\PC{0,24}", number in "[-+0-9.a-zA-Zµ_]{0,24}") {
        for text in [&text, &number] {
            let _ = value::go_duration(text);
            let _ = value::prom_duration(text);
            let _ = value::bytes(text);
            let _ = value::int(text);
            let _ = value::int64(text);
            let _ = value::uint64(text);
            let _ = value::url(text);
            let _ = TimeOrDuration::parse(text);
        }
    }

    #[test]
    fn no_line_panics(line in proptest::collection::vec("(--)?(no-)?(wait|data-dir|label|-w|store|x)?(=.{0,3})?", 0..6)) {
        let verbs = [Verb { name: "store", about: "", flags: specs::<Sample>() }];
        if let Ok(parsed) = parse(&specs::<Common>(), &verbs, &line) {
            let _ = read(&parsed, Sample::declare);
        }
    }
}
