//! Who hears of a run of `reconcile` beside its reader: a Pushgateway, and a webhook.

use tokio::sync::watch;

use crate::cli::Monitoring;
use crate::error::{Code, Error, Result};
use crate::operate::pushgateway::{Others, Pushgateway};
use crate::operate::webhook::Webhook;
use crate::reconcile::alert::{self, Alert, Alerts};
use crate::reconcile::metrics;
use crate::reconcile::report::{Report, Status};

/// Where results go.
pub(super) struct Channels {
    gateway: Option<Pushgateway>,
    webhook: Option<Webhook>,
    alerts: Alerts,
}

impl Channels {
    /// Those that were asked for.
    ///
    /// # Errors
    /// An address is none.
    pub(super) fn of(asked: &Monitoring) -> Result<Self> {
        // An empty variable is one that is not set.
        let given = |address: &Option<String>| address.clone().filter(|it| !it.is_empty());
        let gateway = given(&asked.pushgateway).map(|it| Pushgateway::new(&it));
        let webhook = given(&asked.alert_webhook).map(|it| Webhook::new(&it));
        Ok(Channels {
            gateway: gateway.transpose()?,
            webhook: webhook.transpose()?,
            alerts: Alerts::default(),
        })
    }

    /// Sends what a run has found, and returns what could not be delivered. Of a run that the user ended nothing is
    /// sent: it proves nothing of the tables that it left.
    pub(super) async fn tell(
        &mut self,
        report: &Report,
        end: &mut watch::Receiver<bool>,
    ) -> Vec<Error> {
        if report.interrupted || report.status() == Status::Interrupted {
            return Vec::new();
        }
        let alert = self.alerts.due(report);
        let work = async {
            tokio::join!(
                pushed(self.gateway.as_ref(), report),
                alerted(self.webhook.as_ref().zip(alert), report)
            )
        };
        let (pushed, sent) = tokio::select! {
            biased;
            done = work => done,
            _ = end.wait_for(|it| *it) => {
                let what = "interrupted before metrics and alerts were delivered";
                return vec![Error::new(Code::Interrupted, what)];
            }
        };
        if let (Some(alert), Ok(())) = (alert, &sent) {
            self.alerts.delivered(alert);
        }
        [pushed, sent].into_iter().filter_map(Result::err).collect()
    }
}

async fn pushed(gateway: Option<&Pushgateway>, report: &Report) -> Result<()> {
    let Some(gateway) = gateway else {
        return Ok(());
    };
    // The time of the last success outlives runs that are none.
    let others = match metrics::is_success(report.status()) {
        true => Others::Replaced,
        false => Others::Kept,
    };
    let (path, text) = (metrics::path(&report.profile), metrics::text(report));
    gateway.push(&path, &text, others).await.map_err(|why| {
        let what = format!("the Pushgateway did not take the metrics: {why}");
        Error::new(Code::Service, what).hint(format!(
            "does a Pushgateway answer at {}? The report is complete without it",
            gateway.place()
        ))
    })
}

async fn alerted(due: Option<(&Webhook, Alert)>, report: &Report) -> Result<()> {
    let Some((webhook, alert)) = due else {
        return Ok(());
    };
    let body = alert::body(report, alert);
    webhook.send(&body).await.map_err(|why| {
        Error::new(
            Code::Service,
            format!("the webhook did not take the alert: {why}"),
        )
        .hint("is the address of --alert-webhook or CDC_ALERT_WEBHOOK right?")
    })
}
