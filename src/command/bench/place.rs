//! Topics, a consumer group and a keyspace that one repetition has for itself.

use anyhow::anyhow;

use super::Needs;
use crate::command::init_schema;
use crate::config::Config;
use crate::kafka::admin::{TopicOutcome, Topics};
use crate::store::{StoreUrl, schema};

/// The names, and the configuration that leads there.
pub struct Place {
    pub config: Config,
    needs: Needs,
}

impl Place {
    pub fn new(config: &Config, needs: Needs) -> Place {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("iotpipe_bench_{}", &unique[..12]);
        let mut config = config.clone();
        config.kafka.dlq_topic = format!("{name}.dlq");
        config.kafka.alerts_topic = format!("{name}.alerts");
        config.kafka.events_topic = format!("{name}.events");
        config.kafka.analytics_topic = format!("{name}.analytics");
        config.consume.group.clone_from(&name);
        config.consume.instance_id = None;
        match &mut config.store.url {
            StoreUrl::Cassandra { keyspace, .. } => keyspace.clone_from(&name),
            StoreUrl::Sqlite { path } => *path = path.with_file_name(format!("{name}.db")),
        }
        config.kafka.topic = name;
        Place { config, needs }
    }

    /// Makes all of it. What fails half-way is for [`Place::remove`].
    pub async fn make(&self) -> anyhow::Result<()> {
        if self.needs.kafka {
            let admin = Topics::connect(&self.config.kafka())?;
            for spec in init_schema::topics(&self.config, init_schema::MESSAGE_MAX_BYTES) {
                if let TopicOutcome::Exists(_) = admin.ensure(&spec).await? {
                    return Err(anyhow!("topic {} was there before: try again", spec.name));
                }
            }
        }
        if self.needs.store {
            schema::apply(&self.config.store(), &self.config.schema()).await?;
        }
        Ok(())
    }

    /// Removes all of it, also where only some was made; the error names what stays behind.
    pub async fn remove(&self) -> anyhow::Result<()> {
        let topics = match self.needs.kafka {
            true => self.remove_topics().await,
            false => Ok(()),
        };
        if self.needs.store {
            schema::remove(&self.config.store()).await?;
        }
        topics
    }

    async fn remove_topics(&self) -> anyhow::Result<()> {
        let admin = Topics::connect(&self.config.kafka())?;
        let specs = init_schema::topics(&self.config, init_schema::MESSAGE_MAX_BYTES);
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        admin.delete(&names).await?;
        Ok(admin.delete_group(&self.config.consume.group).await?)
    }
}
