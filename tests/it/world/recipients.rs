//! Recipients through the door: put, told of, and taken out of the books for good.

use tixing::domain::id::{AppName, OpenId};
use tixing::domain::recipient::Profile;
use tixing::flow::intake::appointments::Asking;
use tixing::flow::intake::recipients::RecipientError;
use tixing::store::Reach;

use super::{EIGHT, HABIT, World, openid, tag};

impl World {
    async fn puts(&self, name: &str, profile: Profile, id: &str) -> Result<(), RecipientError> {
        let intake = &self.running.as_ref().unwrap().intake;
        let asking = Asking { id, at: self.clock.now() };
        intake.put_recipient(&main(), &openid(name), (profile, Reach::This), asking).await
    }

    async fn forgets(&self, name: &str, id: Option<&str>) -> Result<(), RecipientError> {
        let intake = &self.running.as_ref().unwrap().intake;
        let asking = id.map(|id| Asking { id, at: self.clock.now() });
        intake.erase(&main(), &openid(name), Reach::This, asking).await
    }

    pub(super) async fn knows(&self, who: &OpenId) -> bool {
        let intake = &self.running.as_ref().unwrap().intake;
        let told = intake.recipient(&main(), who).await;
        assert!(told.is_ok() || told.as_ref().is_err_and(|error| *error == RecipientError::Unknown));
        told.is_ok()
    }
}

fn main() -> AppName {
    AppName::parse("main").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_put_is_reminded_and_who_was_erased_is_not() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, "to: { tags: [vip] }"]).await;
    world.start().await;
    let mut vip = Profile::default();
    tag(&mut vip, "vip");
    for (name, id) in [("ann", "w1"), ("bob", "w2"), ("cid", "w3")] {
        world.puts(name, vip.clone(), id).await.unwrap();
        world.grant(name, HABIT, 3).await;
    }
    assert_eq!(world.puts("ann", Profile::default(), "w1").await, Err(RecipientError::Replayed));
    world.at("08:00:30").await;
    assert_eq!(["ann", "bob", "cid"].map(|name| world.cards(name)), [1, 1, 1]);

    let upcoming = world.me("ann").await.upcoming;
    assert_eq!(upcoming.first().map(|next| next.rule.as_str()), Some("water"));
    world.forgets("ann", Some("w4")).await.unwrap();
    world.forgets("bob", None).await.unwrap();
    assert!(!world.knows(&openid("ann")).await && !world.knows(&openid("bob")).await);
    // Over a restart the same request stays the same: nobody is erased twice by it.
    world.restart().await;
    world.puts("ann", vip.clone(), "w5").await.unwrap();
    assert_eq!(world.forgets("ann", Some("w4")).await, Err(RecipientError::Replayed));
    assert!(world.knows(&openid("ann")).await);
    let (before, balance) = (world.me("ann").await, world.me("cid").await);
    assert_eq!(before.balances.values().sum::<u64>(), 0, "what she had went with her");
    assert_eq!(balance.balances.values().max(), Some(&2));
    world.ends().await;
}
