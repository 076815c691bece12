//! What every tampered archive has to be: different from the clean one, both ways, and named.

use quorate_normalize::{CompareError, Comparison, Input, Limits, compare};
use quorate_proto::comparison::{AnomalyKind, DifferenceClass, Level, Side};

/// Compares with limits that are far above what any test needs.
pub(crate) fn compared(published: &[u8], rebuilt: &[u8], file_name: &str) -> Comparison {
    compare(&Input { published, rebuilt, file_name }, &Limits::default()).unwrap()
}

/// Asserts that `tampered` against `clean` is different with this anomaly of the published side.
pub(crate) fn assert_attack_is_named(tampered: &[u8], clean: &[u8], file_name: &str, kind: AnomalyKind) {
    assert_ne!(tampered, clean, "the attack changes nothing");
    let comparison = compared(tampered, clean, file_name);
    assert_eq!(comparison.level, Level::Different, "{comparison:#?}");
    let is_named = comparison.anomalies.iter().any(|anomaly| anomaly.side == Side::Published && anomaly.kind == kind);
    assert!(is_named, "{kind:?} is not among {:#?}", comparison.anomalies);
    assert!(comparison.differences.iter().any(|found| found.difference.class == DifferenceClass::Anomaly));
    assert!(comparison.anomalies.iter().all(|anomaly| anomaly.member.as_deref().unwrap_or("").chars().count() <= 300));
    match compare(&Input { published: clean, rebuilt: tampered, file_name }, &Limits::default()) {
        Ok(turned) => assert_eq!(turned.level, Level::Different),
        Err(CompareError::UnreadableRebuilt { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let same = compared(tampered, tampered, file_name);
    assert_eq!(same.level, Level::Byte);
    assert!(same.anomalies.iter().any(|anomaly| anomaly.kind == kind), "equal bytes hide their anomalies");
}

/// Asserts that `tampered` is different from `clean` by its members, with no anomaly needed.
pub(crate) fn assert_difference_is_seen(tampered: &[u8], clean: &[u8], file_name: &str, class: DifferenceClass) {
    for (published, rebuilt) in [(tampered, clean), (clean, tampered)] {
        let comparison = compared(published, rebuilt, file_name);
        assert_eq!(comparison.level, Level::Different, "{comparison:#?}");
        let classes: Vec<_> = comparison.differences.iter().map(|found| found.difference.class).collect();
        let turned = match class {
            DifferenceClass::OnlyPublished => DifferenceClass::OnlyRebuilt,
            DifferenceClass::OnlyRebuilt => DifferenceClass::OnlyPublished,
            class => class,
        };
        assert!(classes.contains(&class) || classes.contains(&turned), "{classes:?}");
    }
}

/// An attack as a golden vector carries it.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) file_name: &'static str,
    pub(crate) archive: fn() -> Vec<u8>,
}

/// One test an attack: `name: file name, tampered bytes, clean bytes => kind;`. All of them
/// together are `attack_list()`.
macro_rules! attacks {
    ($($name:ident: $file:expr, $tampered:expr, $clean:expr => $kind:ident;)*) => {
        $(
            #[test]
            fn $name() {
                let kind = quorate_proto::comparison::AnomalyKind::$kind;
                crate::attack::assert_attack_is_named(&$tampered, &$clean, $file, kind);
            }
        )*

        /// Every attack of this file, for the golden vectors.
        pub(crate) fn attack_list() -> Vec<crate::attack::Attack> {
            vec![$(crate::attack::Attack { name: stringify!($name), file_name: $file, archive: || (&$tampered)[..].to_vec() }),*]
        }
    };
}
pub(crate) use attacks;
