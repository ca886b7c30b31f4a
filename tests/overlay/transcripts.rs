//! What a person sees, command by command.

use crate::harness::{Ground, agree, set};
use crate::transcript::plays;

#[tokio::test]
async fn a_lone_daemon_in_text() {
    let ground = Ground::new();
    let _alpha = ground.start("alpha").await;
    plays(
        &ground,
        r#"
        $ chinwag version
        chinwag  0.1.0, protocol 1
        chinwagd 0.1.0, protocol 1
        $ chinwag keys

        $ chinwag set greeting hello
        greeting = "hello" · on 1 of 1 member after [..]
        $ chinwag get greeting
        hello
        $ chinwag get greting
        ! error: no such key: greting
        !   try: chinwag get greeting
        ? 1
        $ chinwag set 'app/a name' 'two words'
        app/a name = "two words" · on 1 of 1 member after [..]
        $ chinwag get 'app/a name'
        two words

        $ chinwag incr visits
        visits = 1 · on 1 of 1 member after [..]
        $ chinwag incr visits 41
        visits = 42 · on 1 of 1 member after [..]
        $ chinwag incr visits -2
        visits = 40 · on 1 of 1 member after [..]
        $ chinwag get visits
        40

        $ chinwag add hosts a b c
        hosts + "a" "b" "c" · 3 added, 3 elements · on 1 of 1 member after [..]
        $ chinwag add hosts c d
        hosts + "c" "d" · 1 added, 4 elements · on 1 of 1 member after [..]
        $ chinwag rm hosts a
        hosts - "a" · 1 removed, 3 elements · on 1 of 1 member after [..]
        $ chinwag rm hosts zz
        ! error: `hosts` has no element "zz"
        ? 1
        $ chinwag get hosts
        b
        c
        d

        $ chinwag keys
        app/a name
        greeting
        hosts
        visits
        $ chinwag keys 'app/*'
        app/a name

        $ chinwag incr greeting
        ! error: `greeting` is a register, not a counter
        ? 4
        $ chinwag set visits 7
        ! error: `visits` is a counter, not a register
        ? 4
        $ chinwag del greetin
        ! error: no such key: greetin
        !   try: chinwag del greeting
        ? 1
        $ chinwag del greeting
        greeting deleted · on 1 of 1 member after [..]
        $ chinwag get greeting
        ! error: no such key: greeting
        !   try: chinwag keys
        ? 1

        $ chinwag members
        NAME     STATE  φ  INC  RTT  HEARD  BEHIND  DIGEST     ADDRESS
        alpha *  alive  –    1    –      –       0  [..]       –
        $ chinwag status
        alpha    healthy · up [..] · no overlay · chinwagd 0.1.0, protocol 1
        members  1 alive · 0 suspect · 0 down
        state    3 keys · digest [..] · nobody to be in step with
        dht      1 member can own · 0 records here · 0 B
        gossip   [..]queue 0/8192
        address  it does not listen for members
        "#,
    )
    .await;
}

#[tokio::test]
async fn a_lone_daemon_in_json() {
    let ground = Ground::new();
    let _alpha = ground.start("alpha").await;
    plays(
        &ground,
        r#"
        $ chinwag --json version
        {"schema":"chinwag.versions/1","version":"0.1.0","protocol":1,"protocol_min":1,"daemon":{"version":"0.1.0","protocol":1,"protocol_min":1}}

        $ chinwag --json set greeting hello
        {"schema":"chinwag.write/1","token":"[..]","holders":1,"of":1,"met":true,"after_ms":[..],"results":[{"op":"set","key":"greeting","value":"hello"}]}
        $ chinwag --json get greeting
        {"schema":"chinwag.cell/1","key":"greeting","kind":"register","value":"hello","version":"[..]"}
        $ chinwag --json get greeting --siblings
        {"schema":"chinwag.cell/1","key":"greeting","kind":"register","value":"hello","siblings":[{"value":"hello","origin":"alpha","at_unix_ms":[..],"dot":"12D3[..]:1"}],"version":"[..]"}
        $ chinwag --json get greting
        ! {"schema":"chinwag.error/1","kind":"no_such_key","message":"no such key: greting","because":[],"try":["chinwag get greeting"],"exit":1}
        ? 1

        $ chinwag --json incr visits 5
        {"schema":"chinwag.write/1","token":"[..]","holders":1,"of":1,"met":true,"after_ms":[..],"results":[{"op":"incr","key":"visits","by":5,"count":5}]}
        $ chinwag --json get visits
        {"schema":"chinwag.cell/1","key":"visits","kind":"counter","count":5,"version":"[..]"}
        $ chinwag --json add hosts a b
        {"schema":"chinwag.write/1","token":"[..]","holders":1,"of":1,"met":true,"after_ms":[..],"results":[{"op":"add","key":"hosts","added":2,"size":2}]}
        $ chinwag --json rm hosts a
        {"schema":"chinwag.write/1","token":"[..]","holders":1,"of":1,"met":true,"after_ms":[..],"results":[{"op":"rm","key":"hosts","removed":1,"size":1}]}
        $ chinwag --json get hosts
        {"schema":"chinwag.cell/1","key":"hosts","kind":"set","elements":["b"],"version":"[..]"}
        $ chinwag --json keys
        {"schema":"chinwag.keys/1","keys":[{"key":"greeting","kind":"register"},{"key":"hosts","kind":"set"},{"key":"visits","kind":"counter"}],"next":null}

        $ chinwag --json del greeting
        {"schema":"chinwag.write/1","token":"[..]","holders":1,"of":1,"met":true,"after_ms":[..],"results":[{"op":"del","key":"greeting"}]}
        $ chinwag --json del greeting
        ! {"schema":"chinwag.error/1","kind":"no_such_key","message":"no such key: greeting","because":[],"try":["chinwag keys"],"exit":1}
        ? 1
        $ chinwag --json incr hosts
        ! {"schema":"chinwag.error/1","kind":"wrong_kind","message":"`hosts` is a set, not a counter","because":[],"try":[],"exit":4}
        ? 4

        $ chinwag --json members
        {"schema":"chinwag.members/1","members":[{"name":"alpha","id":"12D3KooW[..]","self":true,"state":"alive","phi":null,"incarnation":1,"generation":"[..]","rtt_ms":null,"heard_ms":null,"behind":0,"digest":"[..]","addresses":[],"stall_ms":300,"suspected_by":[],"down_in_ms":null}],"probe_loss":[..]}
        $ chinwag --json status
        {"schema":"chinwag.status/1","name":"alpha","id":"12D3KooW[..]","generation":"[..]","overlay":null,"role":null,"pid":[..],"version":"0.1.0","protocol":1,"uptime_ms":[..],"healthy":true,"problems":[],"members":{"alive":1,"suspect":0,"down":0,"left":0},"phi_highest":null,"keys":2,"digest":"[..]","in_step":{"peers":0,"of":0},"gossip":{"queue":0,"queue_max":8192,"rounds_per_s":[..],"in_bytes_per_s":[..],"out_bytes_per_s":[..]},"addresses":[],"socket":"[..]/run/alpha.sock","data":"[..]/alpha"}
        $ chinwag --json invite
        ! {"schema":"chinwag.error/1","kind":"no_overlay","message":"this daemon belongs to no overlay yet","because":[],"try":["chinwag init NAME, to make one","chinwag join TOKEN, to enter one"],"exit":4}
        ? 4
        $ chinwag --json init home
        {"schema":"chinwag.init/1","overlay":{"name":"home","id":"[..]"},"name":"alpha","id":"12D3KooW[..]"}
        $ chinwag --json invite --uses 3 --expires 2h --role admin
        {"schema":"chinwag.invite/1","token":"cw1home-[..]","overlay":{"name":"home","id":"[..]"},"uses":3,"role":"admin","expires_unix_ms":[..],"expires_in_s":7200,"addresses":["/ip4/127.0.0.1/tcp/[..]","/ip4/127.0.0.1/udp/[..]/quic-v1"]}
        $ chinwag --json leave
        {"schema":"chinwag.leave/1","name":"alpha","pid":[..]}
        $ chinwag --json leave
        ! {"schema":"chinwag.error/1","kind":"unreachable","message":"no chinwagd is running for this user","because":["looked in [..]/run: empty"],"try":["chinwag up","chinwag lab 3"],"exit":3}
        ? 3
        "#,
    )
    .await;
}

#[tokio::test]
async fn three_members_in_text() {
    let ground = Ground::new();
    let [alpha, beta, gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    alpha.write_everywhere(vec![set("k", "v")]).await;
    agree(&[&alpha, &beta, &gamma]).await;
    plays(
        &ground,
        r#"
        $ chinwag status
        ! error: several daemons run, and none was chosen
        !   they are alpha, beta and gamma
        !   try: chinwag -n alpha …    or: export CHINWAG_NAME=alpha
        ? 2
        $ chinwag -n beta get k
        v
        $ chinwag -n beta set k w --wait all
        k = "w" · on 3 of 3 members after [..]
        $ chinwag -n beta status
        beta     healthy · up [..] · overlay home · chinwagd 0.1.0, protocol 1
        members  3 alive · 0 suspect · 0 down[..]
        state    1 key · digest [..] · in step with [..] of 2 peers
        dht      3 members can own · 0 records here · 0 B[..]
        gossip   [..]queue 0/8192
        address  /ip4/127.0.0.1/tcp/[..]  /ip4/127.0.0.1/udp/[..]/quic-v1
        $ chinwag -n beta members
        NAME    STATE    φ  INC    RTT   HEARD  BEHIND  DIGEST     ADDRESS
        beta *  alive    –  [..]     –      –        0  [..]       127.0.0.1:[..]
        alpha   alive [..] 127.0.0.1:[..]
        gamma   alive [..] 127.0.0.1:[..]
        $ chinwag -n beta --json members
        {"schema":"chinwag.members/1","members":[{"name":"beta",[..]},{"name":"alpha",[..],"self":false,"state":"alive","phi":[..],"incarnation":[..],"generation":"[..]","rtt_ms":[..],"heard_ms":[..],"behind":[..],"digest":"[..]","addresses":["/ip4/127.0.0.1/tcp/[..]","/ip4/127.0.0.1/udp/[..]/quic-v1"],"rto_ms":[..],"stall_ms":[..],"suspected_by":[],"down_in_ms":null},{"name":"gamma",[..]}],"probe_loss":[..]}
        $ chinwag -n alpha invite
        chinwag join cw1home-[..]
        ! Good for one use within 10m00s, as member. Type this on the other machine:
        ! This daemon listens on loopback only, so only this machine can join by it.
        $ chinwag -n gamma invite
        ! error: this node's role in home is member
        !   only an admin whose grant the overlay's root signed can invite
        !   try: run `chinwag invite` on the daemon that made the overlay
        ? 4
        $ chinwag -n gamma leave
        ✓ gamma has left and ended after [..]
        "#,
    )
    .await;
}

#[tokio::test]
async fn a_watch_in_text_and_in_json() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    let writes = async {
        // Whoever watches says in text not when it is ready, so it is written until it has seen enough.
        for n in 0u64.. {
            alpha.write(vec![set(format!("w/{n}"), "v"), set("other", "v")]).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let session = plays(
        &ground,
        r#"
        $ chinwag watch 'w/*' --count 2
        [..]:[..]:[..].[..]  set    w/[..]  "v"  alpha  +[..] ms
        [..]:[..]:[..].[..]  set    w/[..]  "v"  alpha  +[..] ms
        $ chinwag watch 'w/*' --count 1 --json
        {"schema":"chinwag.ready/1","name":"alpha","position":"[..]"}
        {"schema":"chinwag.change/1","at_unix_ms":[..],"key":"w/[..]","what":"set","value":"v","origin":"alpha","age_ms":[..],"was":[],"concurrent":false,"position":"[..]"}
        "#,
    );
    tokio::select! {
        () = session => {}
        () = writes => unreachable!("it writes for ever"),
    }
}
