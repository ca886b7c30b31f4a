//! Starts that go wrong, and are told so that a person knows what to do.

use crate::harness::Ground;

#[tokio::test]
async fn a_taken_port_names_its_holder() {
    let ground = Ground::new();
    let [alpha] = ground.overlay(["alpha"]).await;
    ground.found("beta", "other").await;
    let port = alpha.status().await.addresses[0].socket.port();
    let told = ground.chinwagd_ends("beta", &["--listen", &format!("127.0.0.1:{port}")]).await.exits(4);
    told.says(&format!("error: port {port} is taken by chinwagd \"alpha\" (pid {})", alpha.pid()))
        .says("try: leave --listen out; a free port is chosen and announced");

    // By whom, if not by one of ours, nobody can say.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let told = ground.chinwagd_ends("beta", &["--listen", &format!("127.0.0.1:{port}")]).await.exits(4);
    told.says(&format!("error: port {port} is taken by another program")).says("try: ");
}

#[tokio::test]
async fn a_data_directory_has_one_daemon() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    let told = ground.chinwagd_ends("alpha", &[]).await.exits(4);
    told.says(&format!("is in use by the process with pid {}", alpha.pid())).says("try: ");
    assert_eq!(alpha.status().await.name, "alpha", "the first goes on");
    // A taken name gets a suffix.
    let data = ground.path().join("second");
    let second = ground.start_with("alpha", &["--data", data.to_str().unwrap()], &[]).await;
    assert_eq!(second.status().await.name, "alpha-2");
}

#[tokio::test]
async fn a_bad_setting_is_told_with_its_place() {
    let ground = Ground::new();
    let file = ground.data("alpha").join("config.toml");
    std::fs::create_dir(ground.data("alpha")).unwrap();
    let place = |at: &str| format!("error: {}:{at}: ", file.display());
    for (text, at, says) in [
        ("# mine\nlog = \"info\"\n  nmae = \"ada\"\n", "3:3", "there is no setting `nmae`"),
        ("profile = 3\n", "1:11", ""),
        ("profile = \"quick\"\n", "1:11", "unknown variant `quick`"),
        ("name = \"a b\"\n", "1:8", "a name has"),
        ("listen = [\"nowhere\"]\n", "1:10", "expected PORT, IP"),
        ("name = \"x\nlisten = []\n", "1:10", ""),
    ] {
        std::fs::write(&file, text).unwrap();
        let told = ground.chinwagd_ends_unnamed("alpha").await.exits(2);
        let told = told.says(&place(at)).says(says);
        if text.contains("nmae") {
            told.says("try: name = ");
        }
    }
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    ground.chinwagd_ends_unnamed("alpha").await.exits(2).says("config.toml");
    std::fs::remove_file(&file).unwrap();
    let told = ground.chinwagd_ends("alpha", &["--config", "missing.toml"]).await.exits(2);
    told.says("there is no file missing.toml");
    ground.chinwagd_ends("alpha", &["--listen", "nowhere"]).await.exits(2).says("expected PORT, IP");
    ground.chinwagd_ends("alpha", &["--log", "chinwag=loud"]).await.exits(2).says("not a log filter");
    ground.chinwagd_ends("alpha", &["--lisen", "127.0.0.1:0"]).await.exits(2).says("--listen");
}

#[tokio::test]
async fn a_setting_is_taken_from_the_flag_before_the_file() {
    let ground = Ground::new();
    std::fs::create_dir(ground.data("alpha")).unwrap();
    std::fs::write(ground.data("alpha").join("config.toml"), "name = \"filed\"\nprofile = \"fast\"\n")
        .unwrap();
    let alpha = ground.start("alpha").await;
    assert_eq!(alpha.status().await.name, "alpha");
}

#[tokio::test]
async fn a_damaged_key_or_paper_is_told_and_left_as_it_is() {
    let ground = Ground::new();
    for (file, text, says) in [
        ("identity.key", "not hexadecimal", "is not a key"),
        ("overlay.toml", "name = \"home\"\n", "overlay.toml is damaged"),
        ("overlay.toml", "\u{0}\u{1}\u{2}", "overlay.toml is damaged"),
    ] {
        ground.found("alpha", "home").await;
        let path = ground.data("alpha").join(file);
        std::fs::write(&path, text).unwrap();
        ground.chinwagd_ends("alpha", &["--listen", "127.0.0.1:0"]).await.exits(4).says(says);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::remove_dir_all(ground.data("alpha")).unwrap();
    }
}

#[tokio::test]
async fn a_runtime_directory_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let ground = Ground::new();
    std::fs::set_permissions(ground.runtime(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let told = ground.chinwagd_ends("alpha", &[]).await.exits(4);
    told.says("is open to other users (mode 777)").says("try: chmod 700 ");
    ground.type_in("status").await.exits(4).says("is open to other users");
}
