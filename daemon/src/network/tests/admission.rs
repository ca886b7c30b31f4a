//! Who is let in, and what the others are told.

use super::harness::*;
use crate::network::admission::RefusalReason;
use crate::network::{DialFailure, Happening, RedeemError, redeem};
use chinwag_base::invite::Secret;
use chinwag_base::{Grant, GrantError, Invite, Role};

/// How a dial of `seed` with this grant ends at the dialler and at the listener.
async fn refused(listen: &str, grant: Grant) -> (DialFailure, RefusalReason) {
    let mut listener = Node::start(1, &[listen]).await;
    let mut dialler = Node::start_with(2, Book::of(grant), &[]).await;
    dialler.dial(&listener);
    let (Happening::DialFailed { why: told, .. }, Happening::Refused { why, peer, .. }) =
        tokio::join!(dialler.next(), listener.next())
    else {
        panic!("both are told")
    };
    assert_eq!(peer, Some(dialler.id));
    assert_eq!(listener.network.refusals().len(), 1);
    (told, why)
}

#[tokio::test]
async fn only_a_grant_of_this_overlay_for_this_key_and_time_admits() {
    let me = key(2).id();
    let end = NOW.plus_ms(HOUR_MS);
    let other_root = key(201);
    let cases = [
        (Grant::by_root(&other_root, me, Role::Member, end), RefusalReason::Foreign),
        (Grant::by_root(&root(), key(3).id(), Role::Member, end), RefusalReason::NotGranted),
        (
            Grant::by_root(&root(), me, Role::Member, chinwag_base::WallTime::from_unix_ms(5)),
            RefusalReason::Expired,
        ),
    ];
    for listen in [TCP, QUIC] {
        for (grant, expected) in &cases {
            let (told, why) = refused(listen, grant.clone()).await;
            assert_eq!((told, why), (DialFailure::Denied(*expected), *expected), "over {listen}");
        }
    }
}

#[tokio::test]
async fn the_dialler_checks_the_listener_too() {
    let expired = Grant::by_root(&root(), key(1).id(), Role::Member, chinwag_base::WallTime::from_unix_ms(5));
    let listener = Node::start_with(1, Book::of(expired), &[TCP]).await;
    let mut dialler = Node::start(2, &[]).await;
    dialler.dial(&listener);
    let happening = dialler.next().await;
    let why = DialFailure::Denied(RefusalReason::Expired);
    assert_eq!(happening, Happening::DialFailed { peer: listener.id, why });
}

#[tokio::test]
async fn an_evicted_key_stays_out() {
    let listener = Node::start(1, &[TCP]).await;
    let mut dialler = Node::start(2, &[]).await;
    listener.book.evicted.lock().unwrap().push(dialler.id);
    dialler.dial(&listener);
    let why = DialFailure::Denied(RefusalReason::Revoked);
    assert_eq!(dialler.next().await, Happening::DialFailed { peer: listener.id, why });
}

#[tokio::test]
async fn a_wrong_key_at_an_address_is_told() {
    let listener = Node::start(1, &[TCP]).await;
    let mut dialler = Node::start(2, &[]).await;
    let wanted = key(3).id();
    dialler.network.dial(wanted, listener.addresses.clone());
    let why = DialFailure::WrongPeer(listener.id);
    assert_eq!(dialler.next().await, Happening::DialFailed { peer: wanted, why });
}

fn invite(inviter: &Node, secret: u8) -> Invite {
    Invite {
        overlay_name: "home".parse().unwrap(),
        overlay: inviter.book.overlay,
        inviter: inviter.id,
        secret: Secret::from_bytes([secret; 16]),
        not_after: NOW.plus_ms(HOUR_MS),
        addresses: inviter.addresses.clone(),
    }
}

fn why(result: Result<Grant, RedeemError>) -> RefusalReason {
    match result {
        Err(RedeemError::Refused(why)) => why,
        other => panic!("refused, not {other:?}"),
    }
}

#[tokio::test]
async fn an_invite_is_redeemed_by_one_key() {
    for listen in [TCP, QUIC] {
        let mut inviter = Node::start(1, &[listen]).await;
        inviter.book.invite(Secret::from_bytes([5; 16]), NOW.plus_ms(HOUR_MS));
        inviter.book.invite(Secret::from_bytes([6; 16]), NOW);
        let good = invite(&inviter, 5);
        let grant = redeem(&key(2), &good, NOW, PATIENCE).await.unwrap();
        assert_eq!(grant.verify(good.overlay, key(2).id(), NOW), Ok(Role::Member));
        // A lost reply burns nothing, but nobody else gets in.
        assert_eq!(redeem(&key(2), &good, NOW, PATIENCE).await.unwrap(), grant);
        assert_eq!(why(redeem(&key(3), &good, NOW, PATIENCE).await), RefusalReason::InviteUsed);
        assert_eq!(
            why(redeem(&key(3), &invite(&inviter, 7), NOW, PATIENCE).await),
            RefusalReason::InviteUnknown
        );
        // And with the grant one connects.
        let mut joiner = Node::start_with(2, Book::of(grant), &[]).await;
        connect(&mut joiner, &mut inviter).await;
    }
}

#[tokio::test]
async fn an_expired_invite_a_foreign_one_and_an_absent_inviter_are_told_apart() {
    let inviter = Node::start(1, &[TCP]).await;
    inviter.book.invite(Secret::from_bytes([5; 16]), chinwag_base::WallTime::from_unix_ms(1));
    assert_eq!(why(redeem(&key(2), &invite(&inviter, 5), NOW, PATIENCE).await), RefusalReason::InviteExpired);
    let foreign = Invite { overlay: chinwag_base::OverlayId::from_bytes([1; 16]), ..invite(&inviter, 5) };
    assert_eq!(why(redeem(&key(2), &foreign, NOW, PATIENCE).await), RefusalReason::Foreign);

    let elsewhere = Invite { inviter: key(9).id(), ..invite(&inviter, 5) };
    let result = redeem(&key(2), &elsewhere, NOW, PATIENCE).await;
    assert!(matches!(result, Err(RedeemError::NotTheInviter(node)) if node == inviter.id), "{result:?}");

    let nobody = Invite { addresses: vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()], ..invite(&inviter, 5) };
    let result = redeem(&key(2), &nobody, NOW, PATIENCE).await;
    assert!(matches!(result, Err(RedeemError::Unreachable(DialFailure::Refused))), "{result:?}");
    let nowhere = Invite { addresses: vec![], ..invite(&inviter, 5) };
    let result = redeem(&key(2), &nowhere, NOW, PATIENCE).await;
    assert!(matches!(result, Err(RedeemError::Unreachable(DialFailure::NoAddress))), "{result:?}");
}

#[tokio::test]
async fn an_inviter_without_a_grant_of_its_own_gives_nothing() {
    let expired = Grant::by_root(&root(), key(1).id(), Role::Admin, chinwag_base::WallTime::from_unix_ms(5));
    let inviter = Node::start_with(1, Book::of(expired), &[TCP]).await;
    inviter.book.invite(Secret::from_bytes([5; 16]), NOW.plus_ms(HOUR_MS));
    let result = redeem(&key(2), &invite(&inviter, 5), NOW, PATIENCE).await;
    assert!(matches!(result, Err(RedeemError::Invalid(GrantError::Expired))), "{result:?}");
}
