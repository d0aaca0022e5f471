"""What the result tables and the site summaries hold: columns, closed lists, schemas, and the check of a table against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

POOLED = "(pooled)"

COLUMN_MEANINGS = {
    "scenario": "scenario of the study (`base` is the configuration as it stands)",
    "site": f"site, or `{POOLED}` for a row over sites",
    "claim": "claim of the review that the row speaks to (id as in the benchmarks file); empty: none",
    "estimate_type": "what the number is; closed list below",
    "scale": "scale of `std_error` and of the pooling: identity, fisher_z, log (of ratios; of 1 - the number for reliabilities), logit",
    "estimate": "the number, on its natural scale (r, ratio, coefficient)",
    "std_error": "standard error on `scale`",
    "ci_low": "lower end of the interval at `pooling.level`, natural scale",
    "ci_high": "upper end of the interval at `pooling.level`, natural scale",
    "n_sessions": "sessions behind the number; empty: not known",
    "n_clients": "clients behind the number; empty: not known",
    "n_therapists": "therapists behind the number; empty: not known",
    "n_sites": "sites behind the number",
    "share_missing": "share (0-1) of the clients of the sites behind the number that lack what it needs; empty: not known",
    "method": "how it was computed; closed list below",
    "status": "estimated, flagged (estimated, read the reason), not_estimable, or withheld (too few clients to show)",
    "reason": "why it is flagged, not estimable or withheld, or why an estimate has no interval",
    "published": "the figure published in the review, where there is one",
    "difference": "estimate minus published",
}
COLUMNS = tuple(COLUMN_MEANINGS)

HETEROGENEITY_MEANINGS = {
    "tau2": "variance between sites, on `scale`; pooled rows only",
    "tau2_low": "lower end of its Q-profile interval",
    "tau2_high": "upper end of its Q-profile interval",
    "i2": "share (0-1) of the variance of site estimates that lies between sites",
    "q": "Cochran's Q",
    "q_df": "degrees of freedom of Q",
    "q_p_value": "p value of Q",
    "p_value": "p value of the pooled estimate against zero; empty below `pooling.headline_sites`",
    "prediction_low": "lower end of the prediction interval (t with k-1 degrees of freedom), natural scale",
    "prediction_high": "upper end of the prediction interval, natural scale",
}
HETEROGENEITY = tuple(HETEROGENEITY_MEANINGS)

STATUSES = ("estimated", "flagged", "not_estimable", "withheld")
WITH_NUMBERS = ("estimated", "flagged")
WITHHELD = "withheld"
COMPUTED = (*WITH_NUMBERS, WITHHELD)
"""Statuses of rows that have a number, whether or not it may be shown."""
CLUSTERED = ("cluster_jackknife", "cluster_robust", "likelihood_jackknife")
SCALES = ("identity", "fisher_z", "log", "logit")

ESTIMATE_TYPES = {
    "correlation": "Pearson correlation of two client-level variables",
    "partial_correlation": "correlation given the intake level of the outcome (or what the row's contrast names)",
    "part_correlation": "correlation with the residual gain: what the intake level does not explain of the outcome",
    "semipartial_correlation": "correlation of the outcome with what the covariates leave of the alliance (or of the row's variable)",
    "correlation_with_change": "correlation with the difference of post and intake",
    "r_squared": "shared variance: the square of a correlation",
    "r_squared_minimum": "smallest shared variance of a set of pairs",
    "r_squared_maximum": "largest shared variance of a set of pairs",
    "r_squared_mean": "mean shared variance of a set of pairs",
    "r_squared_contrast": "difference of two mean shared variances, first minus second",
    "correlation_minimum": "smallest correlation of two scales of one instrument",
    "correlation_maximum": "largest correlation of two scales of one instrument",
    "correlation_mean": "mean correlation of the scales of one instrument (or mean of such means), better with better",
    "correlation_disattenuated_mean": "the same of correlations corrected for unreliability",
    "correlation_disattenuated_contrast": "difference of two such means, first minus second",
    "htmt": "heterotrait-monotrait ratio: mean |r| between the items of two scales over that within them; near 1: one construct",
    "path_unstandardised": "path coefficient in the units of its variables",
    "path_standardised": "path coefficient of standardised variables",
    "covariance_unstandardised": "covariance or variance in a path model, in the units of its variables",
    "covariance_standardised": "correlation of residuals or share of unexplained variance in a path model",
    "slope_sd_unstandardised": "standard deviation over clients of a path within clients, in the units of its variables",
    "slope_sd_standardised": "the same of variables in standard deviations within clients",
    "defined_unstandardised": "product or sum of path coefficients defined in the model (indirect, total effect)",
    "defined_standardised": "the same of standardised path coefficients",
    "fit_index": "index of a path model's fit, named in `index`",
    "akaike_weight": "weight (0-1) of a model among those compared that data can tell apart",
    "confounder_correlation": "correlation of the residuals of mediator and outcome at which the indirect effect would be zero",
    "confounder_correlation_limit": "the smallest such correlation at which the interval of the indirect effect includes zero",
    "e_value": "risk ratio with mediator and outcome that an unmeasured confounder would need to undo the path between them (E-value)",
    "e_value_limit": "the same for the limit of the path's interval that is nearer to zero (1: the interval includes zero)",
    "path_difference": "a site's standardised path minus that of all other sites together",
    "equality_test": "test that paths (or correlations with several instruments) are equal over sites: chi-squared or F, degrees of "
    "freedom or p value, named in `index`",
    "modification_index": "chi-squared by which fit would improve at least if one parameter were freed",
    "expected_change": "expected standardised value of that parameter",
    "residual_correlation": "correlation of two variables minus the one the model implies",
    "largest_difference": "largest difference of two programs' estimates, in SD",
    "correlation_n_weighted": "mean correlation weighted by the number of clients",
    "correlation_random_effects": "mean correlation by random effects",
    "correlation_contrast": "difference of two correlations, or of two means of correlations",
    "interaction_standardised": "change of the standardised slope of the outcome on the alliance (or on what the row names) per SD "
    "of a moderator",
    "slope_on_moderator": "change of the pooled correlation (on `scale`) per unit of a characteristic of sites",
    "standardised_mean_difference": "difference of two groups' outcomes at the same intake level, in SD of the outcome given it",
    "slope_standardised": "coefficient of a part of the alliance (or of the row's variable), outcome and predictor in SD of the "
    "site (within clients: in SD within clients)",
    "slope_contrast": "difference of two such coefficients",
    "slope_over_sessions": "change of the alliance over ten sessions, in SD of session scores, per SD of the row's variable (or after "
    "training against before)",
    "slope_variance": "variance over therapists of the slope of the alliance on a client's trait, both in SD of the site",
    "slope_change": "change of such a coefficient over the sessions that the row names",
    "variance_share": "share (0-1) of the variance that lies at a level (intraclass correlation)",
    "reliability_of_means": "reliability (0-1) of the mean of a therapist's clients, median over therapists",
    "criterion_met": "1: the criterion is met, 0: it is not",
    "share": "share (0-1) of clients, sites, or what the row names",
    "count": "number of parameters, in the row's words",
    "mean_difference": "difference of two means, in the unit the row names",
    "mean": "mean, in the unit the row names",
    "r_squared_shared": "share of the outcome variance that two predictors explain in common; negative: one brings out the other",
    "r_squared_total": "share of the variance that all predictors of the row explain together",
    "r_squared_adjusted": "the same, less what as many random predictors would explain",
    "r_squared_elsewhere": "the same in clients of therapists who were left out when the coefficients were estimated",
    "r_squared_change": "share of the outcome variance that the alliance (or the row's variable) adds to what the covariates explain",
    "alpha": "Cronbach's alpha of a scale's scored items",
    "omega_total": "share of the variance of a scale's score that one common factor explains (one-factor model of the scored items)",
    "omega_hierarchical": "share of the variance of the total that the general factor of a bifactor model explains",
    "omega_total_schmid_leiman": "share of the total's variance that all common factors explain, by exploratory factors (Schmid-Leiman)",
    "omega_subscale": "share of the variance of a subscale that its own factor explains beyond the general one (bifactor model)",
    "alpha_ordinal": "alpha of the polychoric correlations: of the answers thought continuous, not of the score",
    "omega_ordinal": "reliability of the score of ordinal answers (categorical omega)",
    "inter_item_correlation": "mean correlation of a scale's items",
    "item_rest_correlation": "correlation of an item with the sum of the scale's other items",
    "reliability_within": "reliability of differences between sessions of one client",
    "reliability_between": "reliability of differences between clients",
    "reliability_contrast": "difference of two reliabilities of the same dyads, first minus second",
    "icc": "intraclass correlation of raters, form named in `form`",
    "variance_component": "share (0-1) of the variance of ratings that a source brings",
    "generalizability": "reliability of a mean over raters and sessions, from the components of variance",
    "loading_standardised": "standardised loading of an indicator on a factor",
    "loading": "loading of an indicator on a factor, first indicator 1 or as the model scales it",
    "factor_correlation": "correlation of two factors",
    "residual_variance_standardised": "share of an indicator's variance that no factor explains",
    "explained_common_variance": "share of the common variance that the general factor of a bifactor model explains",
    "uncontaminated_correlations": "share of the correlations of items that only the general factor explains (bifactor model)",
    "chi2_difference": "difference of the chi-squares of two nested models",
    "fit_difference": "difference of a fit index of two models, named in `index`",
    "latent_mean": "mean of a factor against the reference group, in SD of the reference group",
    "intercept": "answer to an item that is expected of a client at the reference group's mean of its factor",
    "score_test": "chi-squared by which fit would improve at least if one equality over all groups were given up (score test)",
    "consistency": "share of an indicator's true variance that the trait as the reference rater sees it explains",
    "method_specificity": "share of an indicator's true variance that is particular to its rater",
    "reliability": "share of an indicator's variance that the factors explain",
    "component_loading": "correlation of a score with the first principal component",
    "component_share": "share (0-1) of the variance of all scores that the first principal component takes",
    "correlation_disattenuated": "correlation corrected for the unreliability of both measures",
    "concordance": "Lin's concordance correlation: how far two raters' scores lie on the line of agreement",
    "profile_likeness": "mean over clients of the correlation, over items, of two raters' answers (or correlation of their mean profiles)",
    "limit_of_agreement": "limit inside which 95 % of two raters' differences of one session are expected to lie (with its partner)",
    "directional_bias": "how much higher the judge rates than the truth, at the average truth, in SD of both raters",
    "directional_bias_contrast": "difference of two such biases, first minus second",
    "tracking": "change of the judgement per unit of change of the truth (1: followed fully, 0: not at all)",
    "tracking_contrast": "difference of two such slopes, first minus second",
    "bias_moderated": "change of the directional bias per SD of a moderator (per session for the number of the session)",
    "tracking_moderated": "change of tracking within clients per SD of a moderator (per session for the number of the session)",
    "random_effect_sd": "standard deviation of an effect (of the log odds in logit models) over clients or therapists",
    "partner_actor_ratio": "partner effect over actor effect (k): 1 both count alike, 0 only one's own rating, -1 their contrast",
    "surface_coefficient": "coefficient of the polynomial regression, or slope or curvature along a line of the response surface",
    "surface_axis": "coordinate of the stationary point, or intercept or slope of a principal axis of the response surface",
    "term_reliability": "reliability of a rating (alpha), or what it implies for the square or the product that a coefficient belongs to",
    "standard_deviation": "standard deviation, in the unit the row names",
    "share_of_rest": "share of the outcome variance left by the covariates that the alliance explains (squared partial r)",
    "hazard_ratio": "ratio of hazards (chances to leave after a session among those who came to it) for one more unit of the row's term",
    "odds_ratio": "ratio of odds for one more unit of the row's term: to leave after a session, or that an event has the row's response",
    "transition_odds": "odds that an event has the row's response: how often it has for each time it has not",
    "curvature_standardised": "coefficient of the squared deviation of an amount from its mean, amount and outcome in SD",
    "turning_point": "amount at which a curve turns or two lines meet, in events an hour",
    "frailty_sd": "standard deviation between therapists of the log hazard (odds) of their clients",
    "cumulative_risk": "share (0-1) of clients who have dropped out up to a session, where planned endings compete",
    "risk_difference": "difference of two such shares",
    "share_in_treatment": "share (0-1) of clients who are still in treatment after a session",
    "observed_to_expected": "dropouts observed over those that a model fitted without these clients expects",
    "calibration_slope": "coefficient of the risk so expected; 1: risks are spread as foretold, below 1: foretold too far apart",
    "kappa": "agreement of two definitions beyond chance (Cohen's kappa)",
    "pabak": "agreement of two criteria corrected for prevalence and bias: twice the share of agreement minus 1",
    "share_difference": "difference of two shares (0-1)",
    "predicted_difference": "difference of the outcomes expected at two combinations of predictors, in SD of the site's outcome",
    "specification_quantile": "quantile of the pooled estimates over specifications, named in `statistic`",
    "variance_explained": "share (0-1) of the variance of the pooled estimates over specifications",
    "p_value": "p value of a test, named in `statistic`",
    "slope_per_ten_sessions": "change of the alliance over ten sessions, in SD of session scores; for curvature: how much this changes "
    "with the square of ten sessions",
    "session_number": "number of a session, or of sessions",
    "autocorrelation": "correlation of deviations from the client's line at sessions that follow each other",
    "variance": "variance over sessions, in squared SD of session scores",
    "variance_ratio": "ratio of two such variances; slightly below zero where the first is no more than chance",
    "dominance": "share of the outcome variance that a component brings, averaged over all sets of the others (general dominance)",
    "dominance_contrast": "difference of two such shares, first minus second",
    "r_squared_others": "share of a component's variance that the other components explain",
    "synchrony": "mean cosine of the angle between two clients' cycles: 1 in step, 0 each with a time of its own",
}

DECIMALS = 2
"""Decimals that printed and published numbers have, unless the kind of number asks for others."""
USUAL, FINE, PROBABILITY = "usual", "fine", "probability"
"""Kinds of numbers in the column ``estimate``: told with :data:`DECIMALS`, with one more, or as a p value."""
INDICES = {
    **dict.fromkeys(("chi2", "chi2_scaled", "scaling", "df", "f", "aic", "aicc", "bic", "equal_paths_chi2", "equal_paths_df"), USUAL),
    **dict.fromkeys(("cfi", "tli", "rmsea", "rmsea_low", "rmsea_high", "srmr"), FINE),
    **dict.fromkeys(("p_value", "p_value_holm", "p_value_scaled", "rmsea_close_p"), PROBABILITY),
    **dict.fromkeys(("equal_paths_p_value", "equal_paths_p_value_holm"), PROBABILITY),
}
"""What the key ``index`` may name in rows of :data:`NAMED_BY_INDEX`, and what kind of number it is."""
NAMED_BY_INDEX = ("fit_index", "fit_difference", "chi2_difference", "equality_test")
SLOPE_PER_SESSION = "slope per session"
_KINDS = {"p_value": PROBABILITY, "largest_difference": FINE, "variance_explained": FINE}

METHODS = {
    "cluster_jackknife": "from one site's rows; standard error from leaving out each therapist in turn, interval by t (therapists - 1)",
    "cluster_robust": "the same with the sandwich standard error, where leaving out one of the therapists leaves no estimate",
    "independent": "from one site's rows; clients taken as independent, standard error of z 1 / sqrt(n - 3) (few therapists)",
    "likelihood_jackknife": "from one site's rows, also clients who lack some values (full information maximum likelihood); standard error "
    "from leaving out each therapist in turn, interval by t (therapists - 1)",
    "likelihood_independent": "the same with clients taken as independent, each left out in turn",
    "bootstrap": "from one site's rows; percentile interval, expanded for few therapists, and standard error over resampled therapists "
    "(clients where therapists are unknown or fewer than ten)",
    "normal_theory": "from one site: clients taken as independent and normal (a published matrix, or therapists unknown or too few)",
    "client_jackknife": "from one site's rows; clients taken as independent, each left out in turn (few therapists)",
    "mixed_model": "from one site's rows; linear mixed model (REML), coefficients with t by Satterthwaite",
    "therapist_means": "from one site's rows; means of the therapists' clients regressed on a trait of theirs, all scales together, t with "
    "therapists - 2",
    "one_stage_therapist_means": "the same with the therapists of all sites that share rows; site-specific intercepts, t with therapists - "
    "sites - 1",
    "one_stage": "one mixed model over the rows of all sites that share them; site-specific intercepts and intake slopes",
    "multiple_imputation": "from one site's rows; missing values imputed many times, combined by Rubin's rules",
    "three_level_reml": "pooled over sites with several correlated effects a site; variances between sites and within sites by REML",
    "cluster_robust_cr2": "the same mean with a standard error robust to how effects of a site hang together (CR2, Satterthwaite)",
    "censored_likelihood": "pooled over sites by maximum likelihood; of a non-significant effect only that much is used",
    "meta_regression": "regression of site estimates on a characteristic of the sites",
    "mean_squares": "from one site's rows; analysis of variance of complete ratings, interval by F (independent sessions)",
    "maximum_likelihood": "one structural model by maximum likelihood, clients taken as independent and normal",
    "maximum_likelihood_robust": "the same with standard errors that respect clients who share a therapist",
    "pooled_covariance": "one structural model fitted by maximum likelihood to the covariances within sites, pooled",
    "polychoric_least_squares": "one factor fitted to polychoric correlations of ordinal answers by unweighted least squares; no test",
    "multiple_groups": "one structural model fitted to several groups at once by maximum likelihood",
    "counted": "counted",
    "published": "as the site published it, with its standard error",
    "published_n": "as the site published it; standard error from its number of clients",
    "two_stage_reml": "pooled over sites; variance between sites by restricted maximum likelihood",
    "two_stage_dersimonian_laird": "pooled over sites; variance between sites by DerSimonian and Laird",
    "two_stage_paule_mandel": "pooled over sites; variance between sites by Paule and Mandel",
    "two_stage_fixed": "pooled over sites; no variance between sites assumed",
    "multivariate_reml": "all coefficients of a model pooled over sites together, with their covariances, by restricted maximum likelihood",
    "two_stage_sem": "one path or factor model fitted to the correlation matrix pooled over sites",
    "n_weighted": "mean of site x factor correlations weighted by numbers of clients, as in the 1991 meta-analysis; no standard error",
    "difference_of_means": "difference of two pooled means; its error knows that the same clients stand in both",
    "hazard_frailty": "from one site's rows; discrete-time hazard model with a normal random intercept of therapists, interval by z",
    "hazard_independent": "the same without random intercept: clients taken as independent (therapists few or not known)",
    "hazard_one_stage": "one such model over the rows of all sites that share them; an intercept for every site, therapists random",
    "logit_random_clients": "from one site's rows; logit model with a normal random intercept of clients, interval by z",
    "logit_one_stage": "one such model over the rows of all sites that share them; an intercept for every site",
    "aalen_johansen": "from one site's counts by session (Kaplan-Meier, Aalen-Johansen); clients taken as independent",
    "aalen_johansen_clustered": "the same with a standard error that respects therapists, interval by t (therapists - 1)",
    "pooled_counts": "the same from sums of the sites' counts; clients taken as independent",
    "cross_validated": "from one site's rows; each therapist left out and predicted from the others, no standard error",
    "weighted_by_clients": "mean of the sites' numbers weighted by clients; no standard error",
    "over_pairs": "smallest, largest or mean over pairs (or over loadings of one group), without standard error",
    "over_specifications": "counted or taken over specifications; they rest on the same clients, so there is no interval",
    "sign_flips": "test by flipping the signs of whole therapists' scores at random, the same flips for every specification",
    "shuffled_alliance": "the same with the alliance shuffled over the clients of each site, as tests of specification curves did at first",
    "profile_likelihood": "where the likelihood of the growth model is largest, interval by likelihood ratio; pooled: sites' likelihoods "
    "added up",
    "permutation": "test by permuting each client's sessions at random; pooled: from sums of the sites' counts",
    "rayleigh": "mean over pairs of clients, with the Rayleigh test of their directions; no standard error",
    "pooled_sums": "from sums over the clients of all sites, about the means of their sites; no standard error",
    "described": "of the people of a site, or of those of all sites in one list; they stand for nobody else, so no standard error",
    "none": "nothing was computed",
}

WITHOUT_ERROR = ("n_weighted", "cross_validated", "weighted_by_clients", "over_pairs", "described")
"""Methods whose meaning says that there is no standard error."""


@dataclass(frozen=True)
class Table:
    """Schema of one result table.

    Parameters
    ----------
    question, name : str
        Where the table lies: ``tables/<question>/<name>.csv``.
    description : str
        One sentence for the results dictionary.
    keys : dict of str to str
        The table's own columns, which stand first, and their meanings. With ``site``, ``estimate_type``, ``claim`` and ``method``
        they identify a row.
    estimate_types : tuple of str
        Which of :data:`ESTIMATE_TYPES` may occur.
    heterogeneity : bool
        Whether the columns of :data:`HETEROGENEITY` follow.
    numbers : tuple of str
        Keys that hold numbers; they do not identify a row.
    steps : tuple of str
        Keys that hold whole numbers and identify a row.
    """

    question: str
    name: str
    description: str
    keys: dict[str, str]
    estimate_types: tuple[str, ...]
    heterogeneity: bool = True
    numbers: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns in their order."""
        return (*self.keys, *COLUMNS, *(HETEROGENEITY if self.heterogeneity else ()))

    @property
    def identifying(self) -> list[str]:
        """Keys that tell rows apart: neither counts nor numbers."""
        return [key for key in self.keys if key not in _COUNTS and key not in self.numbers]


_PAIR_KEYS = {
    "level": "total (two total scales) or subscale (two subscales)",
    "comparison": "instruments (two instruments, one rater), raters (one instrument, two raters) or scales (two subscales of one "
    "instrument, one rater)",
    "instrument1": "first instrument",
    "scale1": "its scale",
    "rater1": "its rater",
    "instrument2": "second instrument",
    "scale2": "its scale",
    "rater2": "its rater",
    "same_rater": "yes: one person gave both ratings, so the correlation holds shared perception too",
    "shared_items": "yes: the scores have items in common (a short form derived from the long form), so they are not two measures",
    "derived": "yes: a score was taken from the answers to a long form; pooled apart from forms that were filled in, and in no summary",
    "parallel": "yes: both scales are meant to measure the same (totals: the alliance as a whole); no: known to be meant for different "
    "constructs; unknown: the instrument files do not say what one of them measures",
    "opposed": "yes: higher is better in one and worse in the other, so a negative correlation is agreement",
    "window": "sessions over which both scores are averaged",
}
_MODEL_KEYS = {"model": "path model of the configuration", "parameter": "parameter as the model writes it"}
_MODEL_GROUP = {"group": "group of clients of a model with groups; empty: all clients, or an effect that the model defines over groups"}
_INTERVAL = (
    "how the interval was made: delta, monte_carlo, bootstrap_percentile, bootstrap_bca, jackknife (an effect that is a sum of "
    "coefficients), or random_effects over sites; empty without one"
)
_FACTOR_KEYS = {
    "factor": "client factor of the configuration",
    "category": "category of the review (interpersonal, intrapersonal, diagnostic) or of the configuration",
    "reversed": "yes: higher means worse, so the sign was turned before pooling",
    "alliance_rater": "who rated the alliance",
    "factor_rater": "who rated the factor; unknown where it comes from the clients table",
    "same_rater": "yes: one person gave both ratings; unknown where the factor's rater is not known",
    "window": "sessions of the alliance",
}
_OF_FACTOR = {
    "alliance_rater": "who rated the alliance",
    "factor_rater": "who rated the factor; unknown where it comes from the clients table; mixed: sites differ",
    "same_rater": "yes: one person gave all ratings; mixed: some of them; unknown where the factor's rater is not known",
    "window": "sessions of the alliance",
}
_INTERVENTION_KEYS = {
    "event": "event of the configuration (or two, first minus second)",
    "alliance_rater": "who rated the alliance",
    "same_rater": "yes: one person coded the events and rated the alliance; mixed: at some sites",
}
_WITHOUT_WEIGHT = {
    "bound": "largest correlation, or difference, that counts as none",
    "p_equivalence": "p value of the test that the number lies inside the bounds (two one-sided tests)",
    "decision": "equivalent, different, equivalent_and_different or undecided; never 'no effect' from a test that found none",
}
_CRITERION = {
    "criterion": "criterion of the configuration; empty: does not depend on one",
    "rule": "its rule",
}
_LEFT_OUT = {"site_left_out": "site left out of this pooled row"}
_SAME_RATER = {"same_rater": "yes: one person rated alliance and outcome, so the correlation holds shared perception too (halo)"}
_OUTCOME_KEYS = {
    "outcome_instrument": "outcome instrument; (preferred): the first of the configuration that the site has from this rater",
    "outcome_scale": "its scale",
    "outcome_rater": "who rated the outcome",
    "timepoint": "post or follow_up",
    "form": "ancova (given the intake level), zero_order, residual_gain or change",
}
EFFECT_KEYS = {
    "alliance_instrument": "alliance instrument; (preferred): the first of the configuration that the site has from this rater",
    "alliance_scale": "its scale",
    "alliance_rater": "who rated the alliance",
    "window": "sessions over which the alliance is averaged",
    **_OUTCOME_KEYS,
    **_SAME_RATER,
    "headline": "yes: the effect that the study is about; beside: the same measures with another form of the outcome; no: all others",
}
_CONTRAST = {"contrast": "which correlations are compared, first minus second; empty: one correlation, on the clients of the contrast"}

FORM_TYPES = ("correlation", "partial_correlation", "part_correlation", "correlation_with_change")
_MEASURE_KEYS = {
    "instrument": "instrument",
    "form": "the rater's form of it",
    "derived_from": "long form that its answers were taken from; empty: it was filled in itself",
    "rater": "who rated",
    "window": "window of the configuration (one form a client, the first in it), timepoint, or all sessions",
}
_MODEL_FIT = ("chi2", "df", "p_value", "cfi", "tli", "rmsea", "rmsea_low", "rmsea_high", "srmr", "aic", "bic")
_INFLUENCE = {
    "rstudent": "externally studentised residual of the site",
    "dffits": "change of the pooled estimate without the site, in standard errors",
    "cook_distance": "Cook's distance",
    "covariance_ratio": "variance of the pooled estimate without the site over that with it",
    "tau2_without": "variance between sites without the site",
    "q_without": "Cochran's Q without the site",
    "hat": "leverage of the site",
    "weight": "weight (0-1) of the site",
}
_EQUIVALENCE = {
    "bound": "largest difference that counts as none (`questions.alliance_outcome.equivalence_bound`)",
    "p_equivalence": "p value of the test that the difference lies inside the bounds (two one-sided tests)",
    "decision": "equivalent, different, equivalent_and_different or undecided; never 'no difference' from a test that found none",
}

_PREDICTION_KEYS = {
    "comparison": "instruments (one rater) or raters (one instrument)",
    "instrument1": "first instrument; (preferred): the first of the configuration that the site has from each rater",
    "rater1": "its rater",
    "instrument2": "second instrument",
    "rater2": "its rater",
    "alliance_scale": "scale of both",
    "window": EFFECT_KEYS["window"],
    **{key: meaning for key, meaning in _OUTCOME_KEYS.items() if key != "form"},
    "form": "zero_order, or ancova (given the intake level)",
}

_CONDITION_KEYS = {
    "topic": "outcome (r with the outcome), modality (the same by treatment), raters (empathy as client and observer see it), "
    "phase (empathy with the alliance), beside_alliance (against the alliance as predictor), setting (by kind of site), "
    "technique_by_alliance (symptoms of a later session on technique and alliance, within clients)",
    "variable": "condition the therapist offers, scale of social influence, technique, or alliance",
    "rater": "who rated it",
    "window": "sessions over which it is averaged",
    "phase": "early, middle or late",
    "form": "ancova (given the intake level), zero_order, residual_gain or change; prior_symptoms (given those of the same session)",
    "where": "within_sites, or between_sites (what sites are like); within_clients, or across_levels (sessions by clients' means)",
    "pair": "what is compared on the same clients; pair of technique and alliance of the configuration",
    "group": "treatment, or setting: clinical, analogue; a share of clients for slopes between sites",
    **_CONTRAST,
    "same_rater": "yes: one person gave both ratings, so the correlation holds shared perception too; mixed: one of the two compared",
    **_EQUIVALENCE,
    "bound": "largest difference that counts as none (`questions.path_models.conditions.equivalence_bound`)",
}

_THERAPIST_KEYS = {
    "topic": "level (of the alliance in a window), course (change over sessions), before_after (the therapist's training), interaction "
    "(product of a client's and a therapist's trait, beside both)",
    "factor": "column of the therapists table, of the sessions table (before_after), or client trait x therapist trait",
    "factor_kind": "training, experience, attachment, introject, alliance_training, other, or dyad (client by therapist)",
    "alliance_scale": "scale of the alliance; empty: a contrast of scales",
    "contrast": "scales or times that are compared, first minus second; empty: one slope",
    "alliance_rater": EFFECT_KEYS["alliance_rater"],
    "window": "sessions over which the alliance of a client is averaged, or every session",
    "same_rater": "yes: the therapist rated both the alliance and the own trait",
    **_EQUIVALENCE,
    "bound": "largest slope that counts as none (`questions.therapist_factors.equivalence_bound`)",
    "p_joint": "contrasts: p value that none of their scales has a slope (Hotelling's T², all scales together)",
    "minimum_detectable": "smallest true value that would be found with the configured power, given the standard error",
    "detectable_r": "smallest correlation of therapists' true means with a trait that so many therapists show with that power",
}
_THERAPIST_VARIANCE_KEYS = {
    "basis": "sessions (scores session by session) or clients (mean of a client over the window)",
    "part": "constant (therapists, all clients alike), client_specific (what a therapist's alliance depends on the client's trait), "
    "between_client (clients of a therapist), within_client (sessions of a client)",
    "trait": "client's trait whose slope varies over therapists; all client factors: their mean, turned towards better; empty: none",
    "case_mix": "whether the client factors are held constant",
    "alliance_scale": EFFECT_KEYS["alliance_scale"].replace("its scale", "scale of the alliance"),
    "alliance_rater": EFFECT_KEYS["alliance_rater"],
    "window": "sessions over which the alliance of a client is averaged, or every session",
    "component": "the variance itself, in variances of the site's scores",
    "p_boundary": "p value of no variance of the slopes (likelihood ratio at the edge)",
}
_DYAD_KEYS = {
    "instrument": "instrument of both raters; (preferred): the first of the configuration that both have at the site",
    "instrument_scale": "its scale; empty: a difference of two scales",
    "raters": "the two raters; the first's rating is the truth, the second's the judgement",
}

TABLES = (
    Table(
        "alliance_outcome",
        "site_effects",
        "Correlation of every alliance measure with every outcome at every site.",
        {**EFFECT_KEYS, "detectable_r": "smallest true correlation that would be found with 80 % power, given the standard error"},
        FORM_TYPES,
        heterogeneity=False,
        numbers=("detectable_r",),
    ),
    Table(
        "alliance_outcome",
        "pooled",
        "The same pooled over sites; the headline also with non-significant effects coded as the 1991 review had to, over all outcomes of "
        "a site at once, and in one stage.",
        {
            **EFFECT_KEYS,
            "coding": "what is done with effects that are not significant at their site: as_estimated, zero, dropped, imputed",
        },
        (*FORM_TYPES, "share"),
    ),
    Table(
        "alliance_outcome",
        "leave_one_out",
        "The pooled effects of the preferred measures, each site left out in turn.",
        {**EFFECT_KEYS, **_LEFT_OUT},
        FORM_TYPES,
    ),
    Table(
        "alliance_outcome",
        "influence",
        "How much each site moves the pooled headline.",
        {
            **EFFECT_KEYS,
            "site_left_out": "site whose influence is measured",
            **_INFLUENCE,
            "influential": "yes: by the rules of the R package metafor",
        },
        FORM_TYPES,
        heterogeneity=False,
        numbers=tuple(_INFLUENCE),
    ),
    Table(
        "alliance_outcome",
        "levels",
        "Whose alliance matters: parts of the alliance within clients, between clients, between therapists and between sites; shares of "
        "variance by level.",
        {
            "explained": "what is explained, or whose variance is split",
            "part": "part of the alliance, or level of the variance",
            "contrast": "two parts, first minus second (contextual effect); empty: one part",
            **_SAME_RATER,
        },
        ("slope_standardised", "slope_contrast", "variance_share", "reliability_of_means"),
    ),
    Table(
        "alliance_outcome",
        "moderators",
        "For whom and for what: kind of outcome, treatment, planned length and what else is configured; within and between sites.",
        {
            "moderator": "what is compared",
            "where": "within_clients (the same clients), within_sites, or between_sites",
            "form": _OUTCOME_KEYS["form"],
            "pair": "the two groups or measures compared",
            "group": "group, kind of outcome, or scale of the moderator",
            **_CONTRAST,
            **_SAME_RATER,
            **_EQUIVALENCE,
        },
        (*FORM_TYPES, "correlation_contrast", "interaction_standardised", "slope_on_moderator", "standardised_mean_difference"),
        numbers=("bound", "p_equivalence"),
    ),
    Table(
        "alliance_outcome",
        "raters",
        "Who rates what: each rater of the alliance with each rater of the outcome, and the contrasts of raters on the same clients.",
        {
            **{key: meaning for key, meaning in _OUTCOME_KEYS.items() if key != "outcome_rater"},
            "window": EFFECT_KEYS["window"],
            "pair": "raters whose clients are compared (those who have all ratings)",
            "alliance_rater": EFFECT_KEYS["alliance_rater"],
            "outcome_rater": _OUTCOME_KEYS["outcome_rater"],
            **_SAME_RATER,
            **_CONTRAST,
        },
        (*FORM_TYPES, "correlation_contrast"),
    ),
    Table(
        "alliance_outcome",
        "timing",
        "Early, middle, late and averaged alliance with the outcome, on the same clients.",
        {
            "alliance_rater": EFFECT_KEYS["alliance_rater"],
            "outcome_rater": _OUTCOME_KEYS["outcome_rater"],
            "form": _OUTCOME_KEYS["form"],
            "sessions": "as_rated (all ratings of a phase) or equalised (the same number in every phase)",
            "phase": "early, middle, late or averaged",
            "window": EFFECT_KEYS["window"],
            **_SAME_RATER,
            **_CONTRAST,
        },
        (*FORM_TYPES, "correlation_contrast"),
    ),
    Table(
        "alliance_outcome",
        "eligibility",
        "The five criteria of the 1991 meta-analysis, checked for every site and effect of the preferred measures.",
        {
            "criterion": "labelled_alliance, time_lapse, no_analog, at_least_5_clients, individual_treatment; all: every one of them",
            "alliance_rater": EFFECT_KEYS["alliance_rater"],
            "window": EFFECT_KEYS["window"],
            "outcome_rater": _OUTCOME_KEYS["outcome_rater"],
            "form": _OUTCOME_KEYS["form"],
            **_SAME_RATER,
            "decision": "met, not met, or not known",
        },
        ("criterion_met", *FORM_TYPES),
    ),
    Table(
        "alliance_outcome",
        "missing",
        "The headline with missing values imputed, and shifted away from what was observed (delta); patterns of missing values.",
        {
            "pattern": "which of alliance, intake and outcome are there; empty: an estimate of the headline",
            "delta": "shift of imputed outcomes in SD (negative: those without outcome did worse)",
            **_SAME_RATER,
        },
        (*FORM_TYPES, "share"),
    ),
    Table(
        "measurement",
        "reliability",
        "How reliable the scores are: every scale of every instrument by rater and window; differences between raters of the same dyads.",
        {
            **_MEASURE_KEYS,
            "instrument_scale": "scale of the instrument",
            "item": "item number; empty: the scale",
            "coefficient": "form of the coefficient where the type of estimate does not say it (R_1F, R_KF, R_C, within, between, lag 1)",
            "contrast": "two raters, first minus second; empty: one coefficient",
            "headline": "yes: the coefficient to read first; no: beside it",
            "n_items": "items of the scale",
            "categories": "answers an item allows",
        },
        (
            *("alpha", "omega_total", "omega_hierarchical", "omega_total_schmid_leiman", "alpha_ordinal", "omega_ordinal"),
            *("inter_item_correlation", "item_rest_correlation", "share", "reliability_within", "reliability_between"),
            *("reliability_contrast", "correlation", "correlation_contrast"),
        ),
        numbers=("categories",),
    ),
    Table(
        "measurement",
        "interrater",
        "How far raters of the same sessions agree.",
        {
            **{key: meaning for key, meaning in _MEASURE_KEYS.items() if key not in ("form", "derived_from")},
            "instrument_scale": "scale of the instrument",
            "form": "ICC(1,1), ICC(1,k), ICC(2,1), ICC(2,k), ICC(3,1), ICC(3,k); source of variance; whose generalizability; two raters",
            "definition": "agreement (differences in level count) or consistency (they do not)",
            "headline": "yes: the reliability of the score that the analyses use; no: beside it",
            "n_raters": "raters behind one score (mean where their number differs)",
        },
        ("icc", "variance_component", "generalizability", "mean_difference"),
        numbers=("n_raters",),
    ),
    Table(
        "measurement",
        "structure",
        "Which factors the items have: models of every instrument and of all measures together.",
        {
            **_MEASURE_KEYS,
            "model": "one_factor, theory, bond_task_goal, bifactor, ...; two models in a comparison: first against second",
            "factor": "factor, or two of them",
            "indicator": "item or scale",
            "index": "index of fit",
            "headline": "yes: the model of the answers as scored; no: beside it (polychoric correlations of ordinal items)",
            "n_items": "items of the instrument in the models",
        },
        (
            *("loading_standardised", "factor_correlation", "residual_variance_standardised", "fit_index", "fit_difference"),
            *("chi2_difference", "explained_common_variance", "uncontaminated_correlations", "omega_hierarchical", "omega_subscale"),
        ),
        heterogeneity=False,
    ),
    Table(
        "measurement",
        "invariance",
        "Whether scores mean the same in every group: sites, languages, raters, sessions.",
        {
            **_MEASURE_KEYS,
            "across": "sites, languages, raters or sessions",
            "groups": "the groups compared, the reference first; one group for its mean or its value of a freed parameter",
            "model": "configural, metric, scalar, strict; partial_metric, partial_scalar: parameters were freed; alignment (many groups)",
            "index": "index of fit; parameter that was freed, or how many; factor of a mean; may_compare: conclusion (estimate: groups)",
            "decision": "holds, fails, or not_estimable, by the cut-offs of the configuration; in rows of may_compare what may be compared",
        },
        ("fit_index", "fit_difference", "chi2_difference", "score_test", "latent_mean", "loading", "intercept", "share", "count"),
        heterogeneity=False,
    ),
    Table(
        "measurement",
        "multitrait_multimethod",
        "How much of each rater's view is shared with the reference rater's and how much is the rater's own.",
        {
            "instruments": "instrument of each rater; one where all have the same",
            "raters": "raters in the model",
            "window": _MEASURE_KEYS["window"],
            "reference": "rater whose view defines the trait",
            "rater": "who rated; two raters for the correlation of their own parts",
            "indicator": "scale; (sum): sum of the rater's scales (standardised where a site published correlations)",
            "factor": "trait, or own: what is particular to the rater",
            "index": "index of fit",
            "headline": "yes: the number to read first; no: beside it (coefficients of the model of pooled covariances)",
        },
        ("consistency", "method_specificity", "reliability", "factor_correlation", "loading_standardised", "fit_index"),
    ),
    Table(
        "measurement",
        "components",
        "The first principal component of the therapist-offered conditions and the alliance scales.",
        {
            "set": "scores that are combined",
            "window": _MEASURE_KEYS["window"],
            "rater": "who rated",
            "group": "condition or alliance; empty: all",
            "variable": "score; empty: the component",
        },
        ("component_loading", "component_share"),
    ),
    Table(
        "convergent_validity",
        "pairs",
        "Every pair of alliance measures at the same sessions: correlation, shared variance, the correlation corrected for the "
        "unreliability of both, and HTMT.",
        _PAIR_KEYS,
        ("correlation", "r_squared", "correlation_disattenuated", "htmt"),
    ),
    Table(
        "convergent_validity",
        "overlap_summary",
        "Overlap of sets of pairs: smallest, largest and mean shared variance of two instruments with one rater, parallel against other "
        "subscales, client against therapist; correlations of the scales of one instrument. Headline: basis `sites` for means and "
        "differences, basis `pairs` for the smallest and the largest. Intervals of shared variance and of mean r end at what is possible.",
        {
            "level": "total or subscale",
            "rater": "client, therapist, observer, or all of them together; two raters: first minus second",
            "pairs_kind": "all, parallel or non_parallel pairs of two instruments (two of them: first minus second); within_instrument",
            "instrument": "instrument whose scales are correlated; (all): mean over instruments; empty: pairs of two instruments",
            "approach": "homogeneous (one theory) or blended instruments, as the instrument files have it; two of them: first minus second",
            "basis": "site: over the site's pairs; sites: the sites' values pooled; pairs: over the pooled pairs",
            "n_pairs": "number of pairs (basis sites: summed over sites); pairs with shared items are left out",
        },
        (
            *("r_squared_minimum", "r_squared_maximum", "r_squared_mean", "r_squared_contrast"),
            *("correlation_minimum", "correlation_maximum", "correlation_mean", "correlation_disattenuated_mean"),
            *("correlation_contrast", "correlation_disattenuated_contrast"),
        ),
    ),
    Table(
        "convergent_validity",
        "predictive_contrast",
        "Do the measures predict the outcome equally? Two instruments of one rater, or two raters of one instrument, on the clients who "
        "have both: their correlations with the outcome and the difference.",
        {
            **_PREDICTION_KEYS,
            "contrast": "first or second: the correlation of that measure; first - second: their difference",
            **{**_EQUIVALENCE, "bound": "largest difference that counts as none (`questions.convergent_validity.equivalence_bound`)"},
            "t_independent": "Williams' t of the difference, which takes clients as independent and normal (for reference)",
            "p_independent": "its p value",
        },
        ("correlation", "partial_correlation", "correlation_contrast"),
        numbers=("bound", "p_equivalence", "t_independent", "p_independent"),
    ),
    Table(
        "convergent_validity",
        "leave_one_out",
        "The pooled correlation of every pair, each site left out in turn.",
        {**_PAIR_KEYS, **_LEFT_OUT},
        ("correlation",),
    ),
    Table(
        "path_models",
        "parameters",
        "Path coefficients, loadings and residual (co)variances of every model, by site and over sites.",
        {**_MODEL_KEYS, "lhs": "left side", "op": "~ regression, =~ loading, ~~ covariance", "rhs": "right side", **_MODEL_GROUP},
        (
            *("path_unstandardised", "path_standardised", "loading", "loading_standardised"),
            *("covariance_unstandardised", "covariance_standardised"),
        ),
    ),
    Table(
        "path_models",
        "defined",
        "Effects that the models define (indirect, total), with every kind of interval.",
        {**_MODEL_KEYS, "definition": "how the model defines it", "interval": _INTERVAL},
        ("defined_unstandardised", "defined_standardised"),
    ),
    Table(
        "path_models",
        "indirect",
        "Indirect effects: of the models, and within and between clients over sessions; how strong a confounder would undo them.",
        {
            "model": "path model or chain of the configuration",
            "effect": "name of the effect; of chains: a (first variable to mediator), b (mediator to outcome), direct, indirect, total; "
            "of slopes that differ between clients also ab_covariance (part of indirect), a_sd, b_sd",
            "level": "client (one value a client), within (a client's sessions, slopes the same for all clients), within_random_slopes "
            "(slopes differ between clients: their means) or between (clients' means over sessions)",
            "definition": "how it is made, and the chain of variables",
            "interval": _INTERVAL,
            "group": "group of clients of a model with groups, of what a confounder would have to be like; empty: all clients",
        },
        (
            *("defined_unstandardised", "defined_standardised", "path_unstandardised", "path_standardised"),
            *("slope_sd_unstandardised", "slope_sd_standardised"),
            *("confounder_correlation", "confounder_correlation_limit", "e_value", "e_value_limit"),
        ),
    ),
    Table(
        "path_models",
        "fit",
        "How well every model fits, by site and over sites.",
        {"model": "path model of the configuration", "index": "chi2, df, p_value, scaling, chi2_scaled, ..., aic, bic"},
        ("fit_index",),
        heterogeneity=False,
    ),
    Table(
        "path_models",
        "comparison",
        "Competing models of the same clients and variables.",
        {
            "comparison": "comparison of the configuration",
            "model": "model; of a difference the more restricted one",
            "against": "the model it is nested in; empty: the row concerns one model",
            "index": "chi2, df, p_value, aic, bic or akaike_weight",
        },
        ("fit_index", "chi2_difference", "akaike_weight"),
        heterogeneity=False,
    ),
    Table(
        "path_models",
        "site_paths",
        "Which standardised paths differ between sites: each site's path minus the mean of all sites (weighted by precision), and its test "
        "against the others.",
        {**_MODEL_KEYS, "index": "difference, p_value or p_value_holm (adjusted over all sites and paths of the model)"},
        ("path_difference", "equality_test"),
        heterogeneity=False,
    ),
    Table(
        "path_models",
        "diagnostics",
        "What a model leaves unexplained, and whether a second program finds the same estimates.",
        {
            **_MODEL_KEYS,
            "index": "modification_index, expected_change, residual_correlation, semopy_difference, equal_paths_chi2, ..., "
            "clients_in_no_group (share of clients who are in none of a model's groups)",
            **_MODEL_GROUP,
        },
        ("modification_index", "expected_change", "residual_correlation", "largest_difference", "equality_test", "share"),
        heterogeneity=False,
    ),
    Table(
        "path_models",
        "conditions",
        "Therapist-offered conditions and social influence with outcome and alliance: by treatment, rater, phase and setting, and "
        "beside the alliance.",
        _CONDITION_KEYS,
        (
            *(*FORM_TYPES, "correlation_contrast", "slope_on_moderator", "slope_standardised", "slope_contrast"),
            *("semipartial_correlation", "r_squared_change", "interaction_standardised"),
        ),
        numbers=("bound", "p_equivalence"),
    ),
    Table(
        "path_models",
        "leave_one_out",
        "The pooled standardised coefficients and effects, each site left out in turn.",
        {**_MODEL_KEYS, **_MODEL_GROUP, **_LEFT_OUT},
        ("path_standardised", "defined_standardised"),
    ),
    Table(
        "path_models",
        "cross_lagged",
        "Two measures session by session: lagged effects within clients, what is stable of clients, and growth, by site and over sites.",
        {
            "pair": "pair of measures of the configuration",
            "model": "random_intercepts_equal_lags (the headline), random_intercepts (free lags), random_intercepts_stationary (residuals "
            "equal too), classic_equal_lags and classic (no random intercepts), growth (linear, side by side), comparison (tests)",
            "parameter": "what the number is of; predictor -> outcome for lagged effects",
            "outcome": "measure of the later session",
            "predictor": "measure of the earlier session",
            "lag": "sessions of the two waves, or their mean",
            "index": "of fit and of tests: chi2 (scaled where errors are robust), df, p_value, cfi, rmsea, srmr, aic, bic",
        },
        (
            *("path_unstandardised", "path_standardised", "factor_correlation", "covariance_unstandardised", "mean"),
            *("fit_index", "chi2_difference"),
        ),
    ),
    Table(
        "client_factors",
        "factors",
        "Correlation of every client factor at intake with the alliance by window and rater, and slopes within and between therapists.",
        {
            **_FACTOR_KEYS,
            "headline": "yes: the rater and the window that the question is about",
            "part": "within_therapists, between_therapists (means of their clients), or the second minus the first; empty: correlations",
            **_WITHOUT_WEIGHT,
        },
        ("correlation", "slope_standardised", "slope_contrast"),
        numbers=("bound", "p_equivalence"),
    ),
    Table(
        "client_factors",
        "categories",
        "Mean correlation by category of client factors, and the contrasts between categories.",
        {
            "category": "category of the review, or two of them: first minus second",
            "n_correlations": "number of site x factor correlations behind the number; n_clients counts every client once",
        },
        ("correlation_n_weighted", "correlation_random_effects", "correlation_contrast"),
    ),
    Table(
        "client_factors",
        "over_time",
        "Whether client factors go with the alliance at the start only or throughout: growth, parts of treatment, first and second phase.",
        {
            **{key: _FACTOR_KEYS[key] for key in ("factor", "category", "reversed")},
            "factor": "client factor of the configuration; a category in brackets: the mean of its standardised factors",
            **_OF_FACTOR,
            "analysis": "growth (session by session), bands (parts of treatment) or phases (first and second), each on the same clients",
            "part": "start or change in ten sessions (growth); part of treatment; first, second, second given first (phases)",
            **_CONTRAST,
            **_WITHOUT_WEIGHT,
        },
        ("slope_standardised", "slope_change", "correlation", "partial_correlation", "correlation_contrast"),
        numbers=("bound", "p_equivalence"),
    ),
    Table(
        "client_factors",
        "unique_shared",
        "What a client factor and the alliance explain of the outcome alone and in common, and what all factors together explain.",
        {
            **{key: _FACTOR_KEYS[key] for key in ("factor", "category", "reversed")},
            "factor": "client factor of the configuration; (all): those known of at least half of a site's clients, together; "
            "(categories): the means of the standardised factors of each category, together",
            **_OF_FACTOR,
            "outcome_rater": "who rated the outcome; empty: the row is not about it",
            "form": "zero_order, or the outcome's form; ancova: all given the intake level, and shares are of the variance it leaves",
            "quantity": "what the number is of: which two are related, given what; whose share of the variance; or the difference",
            "n_factors": "factors that were entered together; pooled rows: mean over sites",
            **_WITHOUT_WEIGHT,
        },
        (
            *("correlation", "partial_correlation", "part_correlation", "correlation_with_change", "correlation_contrast"),
            *("r_squared_change", "r_squared_shared", "r_squared_total", "r_squared_adjusted", "r_squared_elsewhere"),
        ),
        numbers=("n_factors", "bound", "p_equivalence"),
    ),
    Table(
        "client_factors",
        "instruments",
        "Whether a client factor goes with the alliance alike whichever instrument measures the alliance.",
        {
            **_FACTOR_KEYS,
            "factor_rater": _OF_FACTOR["factor_rater"],
            "where": "within_sites (two instruments, the same clients and sessions) or between_sites (sites with other instruments)",
            "pair": "instruments that are compared on the same clients; (preferred): the first of the configuration that the site has, "
            "(other): the next; empty: between sites",
            "alliance_instrument": "instrument of the correlation; empty: a difference, or a test",
            "contrast": "difference, first minus second (between sites on the scale of pooling); all instruments: the test that none "
            "differs; empty: one correlation",
            "index": "of the test: f (chi2 where intervals are normal) or p_value; empty: all else",
            **_WITHOUT_WEIGHT,
        },
        ("correlation", "correlation_contrast", "slope_on_moderator", "equality_test"),
        numbers=("bound", "p_equivalence"),
    ),
    Table(
        "client_factors",
        "leave_one_out",
        "The pooled correlation of every factor and the mean of every category, each site left out in turn.",
        {"factor": "client factor; empty for a category", "category": "category of the review", **_LEFT_OUT},
        ("correlation", "correlation_random_effects"),
    ),
    Table(
        "client_factors",
        "participants",
        "Who took part: age, gender and treatment of clients, experience, training and clients of their therapists.",
        {
            "person": "client (everybody in a site's cleaned table of clients) or therapist (of these clients; n_clients are theirs, and "
            "share_missing is of therapists)",
            "characteristic": "age, planned_sessions, gender and treatment of clients; clients_per_therapist, age, years (of experience), "
            "cases and training of therapists",
            "category": "gender, treatment or training, as the site's words are mapped; (other words): words that one site alone uses, of "
            "fewer than `pooling.min_clients` people each; empty: a mean or standard deviation",
        },
        ("mean", "standard_deviation", "share"),
        heterogeneity=False,
    ),
    Table(
        "therapist_factors",
        "effects",
        "What therapists bring: traits, experience and training on the alliance, its parts and its course, and with which clients.",
        _THERAPIST_KEYS,
        ("slope_standardised", "slope_contrast", "interaction_standardised", "slope_over_sessions", "mean_difference"),
        numbers=("bound", "p_equivalence", "p_joint", "minimum_detectable", "detectable_r"),
    ),
    Table(
        "therapist_factors",
        "variance",
        "How much of the alliance is the therapist's: with all clients alike (constant), or with some kinds of client (client-specific).",
        _THERAPIST_VARIANCE_KEYS,
        ("variance_share", "slope_variance", "reliability_of_means"),
        numbers=("component", "p_boundary"),
    ),
    Table(
        "early_gains",
        "partial",
        "What the alliance tells about the outcome beyond intake level, and beyond intake level and early symptoms.",
        {
            "window": EFFECT_KEYS["window"],
            "alliance_rater": EFFECT_KEYS["alliance_rater"],
            "outcome_rater": _OUTCOME_KEYS["outcome_rater"],
            **_SAME_RATER,
            "items": "as_scored, or without_improvement: items that describe improvement left out of the alliance score",
            "covariates": "what is held constant",
        },
        ("partial_correlation", "semipartial_correlation", "share_of_rest", "r_squared_change"),
    ),
    Table(
        "early_gains",
        "hypotheses",
        "The three hypotheses of the alliance as an artifact of early gains, each with its tests.",
        {
            "hypothesis": "a, b or c, in the order of the review",
            "statement": "what it says",
            "statistic": "what is tested",
            "group": "successful: outcome better than the intake level lets expect; other; or their difference",
            "decision": "what the interval says of the hypothesis: supports, contradicts, undecided, not estimable; empty: part of a test",
        },
        ("mean", "mean_difference", "correlation_contrast", "partial_correlation"),
    ),
    Table(
        "early_gains",
        "sudden_gains",
        "Sudden gains and losses between sessions, and the alliance around sudden gains (in SD of the site's session scores, less that of "
        "clients without one at the same sessions).",
        {
            "shift": "gain or loss",
            "statistic": "what is counted or averaged",
            "rule": "the rule of the site; pooled rows: see the sites",
            "mean_gain": "alliance of clients with a sudden gain at this place, in SD of the site's session scores about their mean; "
            "pooled rows: mean over the gains of all sites",
            "mean_without": "alliance of clients without one at the same sessions, likewise",
            "n_gains": "sudden gains behind the row",
            "n_unmatched": "sudden gains with the alliance measured but no client without one to compare with",
            "n_unmeasured": "sudden gains without the alliance at this place",
            "n_without": "clients without a sudden gain behind the row",
        },
        ("share", "mean", "mean_difference"),
        numbers=("mean_gain", "mean_without"),
    ),
    Table(
        "early_gains",
        "change_categories",
        "Clients who recovered, improved, did not change, became worse or were not measured, by every denominator.",
        {
            "denominator": "treated (all), measured (both scores), beyond_cutoff (at intake), beyond_cutoff_measured",
            "category": "recovered, improved, unchanged, deteriorated, not_measured",
            "rule": "measure, reliable change and cut-off of the site; pooled rows: see the sites",
        },
        ("share",),
    ),
    Table(
        "congruence",
        "agreement",
        "How far client and therapist agree on the same scale in the same sessions, and who rates higher.",
        {
            **_DYAD_KEYS,
            "window": EFFECT_KEYS["window"],
            "statistic": "ICC(2,1), concordance, the difference (first minus second) with its limits, a band of clients, where "
            "differences lie, or how alike the two raters' profiles over items are and what that predicts",
            "definition": "how ratings were standardised for the bands; whether profiles are as given or less each rater's mean profile",
            "unit": "points (mean of the items, or percent of range) or sd (of both raters together at the site)",
            "headline": "yes: the measure that the study is about; no: all others",
            "same_rater": "mixed: one of the two raters also rated the outcome; no: neither did; empty: the row is about the two alone",
        },
        (
            *("icc", "concordance", "mean_difference", "limit_of_agreement", "share", "variance_share", "profile_likeness"),
            *("correlation", "partial_correlation"),
        ),
    ),
    Table(
        "congruence",
        "truth_and_bias",
        "How far the judge follows the truth within and between clients, how much higher he or she rates, and what changes both.",
        {
            **_DYAD_KEYS,
            "window": EFFECT_KEYS["window"],
            "term": "bias, tracking within clients, tracking between clients, or the SD of one of them over clients or therapists",
            "moderator": "moderator of the configuration that changes it; empty: none",
            "contrast": "what is compared, first minus second",
            "unit": "sd (of both raters) for bias; slope for tracking",
            "headline": "yes: the model that the study is about; no: all others",
        },
        (
            *("directional_bias", "directional_bias_contrast", "tracking", "tracking_contrast"),
            *("bias_moderated", "tracking_moderated", "random_effect_sd"),
        ),
    ),
    Table(
        "congruence",
        "actor_partner",
        "Whose rating of the alliance predicts whose next rating, symptoms and outcome.",
        {
            **_DYAD_KEYS,
            "explained": "what is predicted: alliance or symptoms of the next session, or outcome given intake",
            "explained_rater": "who rated it",
            "part": "within_client (ups and downs) or between_client",
            "effect": "actor (own rating), partner (the other's), actor - partner, or partner / actor (k)",
            "predictor_rater": "whose rating of the alliance predicts",
            "same_rater": "yes: one person gave both ratings, so the effect holds shared perception too; mixed: one of the two compared",
        },
        ("slope_standardised", "slope_contrast", "partner_actor_ratio"),
    ),
    Table(
        "congruence",
        "response_surface",
        "Polynomial regressions of an outcome on two ratings: coefficients, response surface, conditions of the claim, simpler models.",
        {
            "surface": "surface of the configuration",
            "kind": "congruence (alike is best) or complementarity (opposite is best)",
            "outcome": "outcome (given intake), symptoms (of the next session), alliance, or dropout (log odds of staying): higher is "
            "better",
            "first": "first rating or column (x)",
            "second": "second rating or column (y)",
            "part": "client, or session by session: within_client and between_client",
            "term": "b0 to b5, a1 to a5, x0, y0, p10 to p21; a condition of the claim or the verdict on all; a band of cases; a model; "
            "x_mean, ... (where the data lie)",
            "index": "condition, aicc, weight, or reliability (of the rating, square or product that b1 to b5 belong to); empty: the term "
            "itself",
            "same_rater": "mixed: one of the ratings and the outcome were given by one person; unknown: raters of columns are not known",
            "decision": "of a condition: met, not_met, undecided; of the verdict: supported, compatible, not_supported, undecided",
            "bound": "how far from its value a parameter may lie to count as equal (`axis_bound`, `slope_bound`)",
            "p_equivalence": "p that the parameter lies outside the bounds, or has the wrong sign",
        },
        (
            *("surface_coefficient", "surface_axis", "criterion_met", "share", "fit_index", "akaike_weight"),
            *("mean", "standard_deviation", "correlation", "term_reliability"),
        ),
        numbers=("bound", "p_equivalence"),
    ),
    Table(
        "interventions",
        "events",
        "Coded events of sessions and the alliance of the next: within and between clients, both ways, by kind, "
        "in ruptures, by initial level.",
        {
            **_INTERVENTION_KEYS,
            "topic": "frequency, accuracy (intensity of events), in_ruptures, moderation, complementarity (of replies on the "
            "interpersonal circle), or initially_poor",
            "explained": "what follows: the next alliance, the next symptoms (higher is better), or the next event",
            "term": "what it depends on (event, alliance, accuracy), product and slopes with a moderator, or effect by true initial level",
            "part": "within_clients, between_clients, between - within (in SD within clients), across_levels, or clients (one row each)",
            "compared_with": "what a session is compared with: all_sessions of the client, or earlier_sessions (no later one enters)",
            "moderator": "moderation of the configuration; empty: none",
            "window": "sessions of `alliance.windows`; rupture: those in rupture windows; empty: see the term",
            "treatment": "clients of this treatment only; empty: all",
            "bound": "largest slope that counts as none (`equivalence_bound`)",
            "p_equivalence": "p value of the test that the slope lies inside the bounds (two one-sided tests)",
            "decision": "equivalent, different, equivalent_and_different or undecided; never 'no effect' from a test that found none",
        },
        ("slope_standardised", "slope_contrast", "interaction_standardised", "mean_difference", "reliability"),
        numbers=("bound", "p_equivalence"),
    ),
    Table(
        "interventions",
        "curvilinear",
        "Is a middle amount of an intervention best? Quadratic regression and the two-lines test, within and between clients.",
        {
            **_INTERVENTION_KEYS,
            "part": "within_clients or between_clients",
            "term": "linear and quadratic (at the mean amount), turning_point; line_below and line_above the bend, bend; "
            "inverted_u: whether "
            "both lines differ from zero, the one below rising, the one above falling",
            "window": EFFECT_KEYS["window"],
            "decision": "of the turning point: inside, outside or undecided (5th to 95th percentile of the amount); of the lines: "
            "inverted_u, u or not_shown",
        },
        ("slope_standardised", "curvature_standardised", "turning_point", "criterion_met"),
    ),
    Table(
        "interventions",
        "transitions",
        "What follows a challenge by the alliance before it, and what repairs a rupture.",
        {
            "topic": "after_event, or repair (of a rupture, in the next session)",
            "after": "event after which a response is looked for; rupture: sessions in rupture windows",
            "response": "response in the same session, one against another, or repaired in the next session",
            "group": "low, high: occasions on which the client's alliance before lies below or above the site's median; kinds "
            "of event; their difference; within "
            "clients, between clients: per SD of the alliance before",
            "model": "counted (groups as wholes) or multilevel (logit model with a random intercept of clients)",
            "alliance_rater": "who rated the alliance",
            "same_rater": "yes: one person coded the events and rated the alliance; mixed: at some sites",
            "n_events": "occasions behind the number",
        },
        ("share", "transition_odds", "odds_ratio", "random_effect_sd"),
    ),
    Table(
        "dropout",
        "hazard",
        "Who leaves: ratios of hazards for the alliance and for clients and therapists, risks of dropout by session, failure in phase 1.",
        {
            "definition": "definition of dropout of the configuration; empty for the outcome",
            "cause": "dropout, planned_ending (what competes), dropout_subdistribution (who ended as planned stays at risk), or outcome",
            "hazard_model": "first_session (alliance of the first session), time_varying (and its change since, before each session), "
            "effect_over_time (whether the effect changes), combination (client x therapist), phase_one (failure in phase 1)",
            "link": "cloglog (hazard ratios) or logit (odds ratios)",
            "therapists": "frailty: a random intercept; jackknife: no random intercept, each left out in turn",
            "term": "alliance_first (per SD of the site), alliance_change (since the first session, same SD), intake_severity (per SD), "
            "alliance_first_by_session (factor by which the alliance's ratio changes with every doubling of the session), session_doubled, "
            "client_trait, therapist_trait, client_by_therapist (per SD), "
            "failed (against not), frailty; or at which alliance a risk is told",
            "session": "session up to which a risk is told",
            "same_rater": "yes: who rated the alliance also judged the ending (or rated the outcome); mixed: some sites or clients",
            "n_events": "events behind the number",
            "events_per_parameter": "events per coefficient (intercepts and a hazard of each session not counted)",
            "p_boundary": "p value of no frailty (half chi-squared with 0, half with 1 degree of freedom); rows of frailty only",
        },
        ("hazard_ratio", "odds_ratio", "frailty_sd", "cumulative_risk", "risk_difference", "standardised_mean_difference"),
        numbers=("events_per_parameter", "p_boundary"),
        steps=("session",),
    ),
    Table(
        "dropout",
        "survival",
        "Shares still in treatment and risks of dropout by session and third of the first-session alliance, while ten or more are at risk.",
        {
            "definition": "definition of dropout of the configuration",
            "group": "third of the site's first-session alliance: low, middle, high; or all clients",
            "session": "session attended",
            "n_at_risk": "clients at risk at this session",
            "n_events": "clients who dropped out after it",
        },
        ("share_in_treatment", "cumulative_risk"),
        heterogeneity=False,
        steps=("session",),
    ),
    Table(
        "dropout",
        "definitions",
        "Definitions of dropout side by side: how many dropped out, how far two definitions agree, and what the alliance tells under each.",
        {
            "definition": "definition of dropout of the configuration",
            "compared_with": "the other definition, for agreement",
            "n_events": "clients who dropped out by the definition",
        },
        ("share", "kappa", "hazard_ratio"),
    ),
    Table(
        "dropout",
        "calibration",
        "Whether the hazard model of the first-session alliance foretells clients that it was not fitted to.",
        {
            "definition": "definition of dropout of the configuration",
            "validation": "who was left out: therapists_in_turn or clients_in_turn at a site, or sites_in_turn over the rows of all sites",
            "statistic": "observed_to_expected (calibration in the large), slope, or predicted and observed risk of a group",
            "group": "group of clients by predicted risk within the site, 1: lowest",
            "session": "session up to which the risk of a group is told",
            "n_events": "dropouts behind the number",
        },
        ("observed_to_expected", "calibration_slope", "cumulative_risk"),
        steps=("session",),
    ),
    Table(
        "components",
        "dominance",
        "What each component of the alliance brings to the outcome beyond the intake level, by phase of treatment.",
        {
            "alliance_rater": "who rated the alliance",
            "phase": "phase of treatment (window of `questions.components.phases`)",
            "quantity": "dominance, together (what all components add to the intake level), or shared with the other components",
            "component": "scale of the alliance",
            "contrast": "which components are compared, first minus second; empty: none",
            "same_rater": "yes: one person rated alliance and outcome",
        },
        ("dominance", "dominance_contrast", "r_squared_change", "r_squared_others"),
    ),
    Table(
        "components",
        "by_phase",
        "How each component goes with the outcome and with what the therapist offers by phase, on the same clients, and how it changes.",
        {
            "topic": "outcome (r given intake), level (of the component itself, in SD of clients in the first phase), condition, or type "
            "(r of type 1 and type 2 helping alliance with the outcome given intake)",
            "condition": "condition that the therapist offers; empty: none",
            "alliance_rater": "who rated the alliance",
            "component": "scale of the alliance, or a contrast of scales; topic type: type_1 (the therapist helps), type_2 (both work "
            "together)",
            "phase": "phase of treatment; empty: a contrast of phases",
            "contrast": "which phases are compared, first minus second; empty: none",
            "same_rater": "yes: one person gave both ratings; mixed: at some sites; empty: one rating alone",
        },
        ("partial_correlation", "correlation", "correlation_contrast", "mean_difference"),
    ),
    Table(
        "course",
        "growth",
        "How the alliance grows over sessions: the mean curve with the spread of single ones, lines, bends, and slopes with the outcome.",
        {
            "alliance_rater": "who rated the alliance",
            "growth_model": "curve (mean and SD of clients by session), linear, quadratic, piecewise (bend at `questions.course.knot`, "
            "the knot itself is searched), or outcome (clients' lines and the outcome in one model)",
            "term": "what is told of it; slopes and curvature are those of the mean curve",
            "session": "session of the curve; empty: none",
            "same_rater": "yes: one person rated alliance and outcome; empty: no outcome",
            "bound": "largest value that counts as none (`slope_bound`, `outcome_bound`)",
            "p_equivalence": "p value of the test that the number lies inside the bounds (two one-sided tests)",
            "decision": "equivalent, different, equivalent_and_different or undecided; never 'no change' from a test that found none",
        },
        (
            *("mean", "standard_deviation", "slope_per_ten_sessions", "random_effect_sd", "share", "session_number", "slope_contrast"),
            "slope_standardised",
        ),
        numbers=("bound", "p_equivalence"),
        steps=("session",),
    ),
    Table(
        "course",
        "peak",
        "At which of the first sessions each client's alliance is highest, against sessions that could be exchanged.",
        {
            "alliance_rater": "who rated the alliance",
            "statistic": "clients who peak (at the session), mean of the session (less the client's mean over all), mean session "
            "of the peak, or sessions alike (test that all sessions are the peak equally often)",
            "session": "session; empty: all",
            "expected": "what sessions that could be exchanged would give",
            "p_permutation": "p value of the permutation test that this session is the peak as often as any other",
        },
        ("share", "mean_difference", "session_number", "p_value"),
        numbers=("expected", "p_permutation"),
        steps=("session",),
    ),
    Table(
        "course",
        "variability",
        "How much the alliance varies within clients, how long deviations last, and how little of it the mean curve shows.",
        {
            "alliance_rater": "who rated the alliance",
            "statistic": "SD around the own line, RMSSD (successive differences), autocorrelation, variance of the mean curve and single "
            "curves and their ratio, reliability of the mean of some sessions, or RMSSD with the outcome (given intake and mean alliance)",
            "sessions": "how many sessions are averaged, for reliability",
            "same_rater": "yes: one person rated alliance and outcome; empty: no outcome",
        },
        ("standard_deviation", "autocorrelation", "variance", "variance_ratio", "reliability_between", "partial_correlation"),
    ),
    Table(
        "course",
        "cycles",
        "Whether clients' alliance goes up and down in cycles, beyond what series without cycles show, and whether clients do so in step.",
        {
            "alliance_rater": "who rated the alliance",
            "surrogates": "series without cycles that are compared: white_noise, or autoregressive (with the site's autocorrelation)",
            "statistic": "clients with a cycle (p at most .05 against the surrogates), power beyond surrogates (share of the variance "
            "around the own line that the strongest cycle takes), cycles in step, or period of the strongest cycle",
            "expected": "what series without cycles, or cycles each with a time of its own, would give",
            "p_phases": "p value of the Rayleigh test that cycles of clients are not in step",
        },
        ("share", "mean_difference", "synchrony", "session_number"),
        numbers=("expected", "p_phases"),
    ),
    Table(
        "ruptures",
        "criteria",
        "Ruptures by several criteria side by side: shares of clients and sessions, depth, length and repair, and what the ratings allow.",
        {
            **_CRITERION,
            "rated_by": "who gave the ratings, reports or codes",
            "statistic": "what is counted or averaged, in words",
            "unit": "what is counted (clients, sessions, ruptures), or the unit of a mean",
        },
        ("share", "mean"),
    ),
    Table(
        "ruptures",
        "base_rates",
        "Shares of clients and of sessions with a rupture beside those that noise alone gives, and the difference.",
        {
            **_CRITERION,
            "rated_by": "who gave the ratings",
            "surrogates": "noise with each client's mean and SD: shuffled (the own ratings in random order) or autoregressive (normal "
            "values with the site's autocorrelation of neighbouring sessions)",
            "unit": "clients or sessions",
            "statistic": "observed, noise, or excess (observed minus noise)",
            "p_noise": "share of the surrogates of a site with as many ruptures as observed or more; rows of excess at sites only",
        },
        ("share", "share_difference"),
        numbers=("p_noise",),
    ),
    Table(
        "ruptures",
        "agreement",
        "How far two criteria agree about clients and about sessions, and which ruptures of one the other sees too.",
        {
            "criterion": "criterion of the configuration",
            "compared_with": "the other criterion",
            "unit": "clients, sessions, or ruptures (of the first criterion)",
            "statistic": "agreement (share on which both agree), kappa, pabak, or also seen (share of the first's ruptures that the other "
            "sees within `questions.ruptures.match_within` sessions)",
            "same_rater": "yes: both criteria rest on one person's ratings, so that errors are shared",
        },
        ("share", "kappa", "pabak"),
    ),
    Table(
        "ruptures",
        "outcome",
        "Outcome and dropout after repaired, unrepaired and no ruptures, early and late, and with a flat, very high alliance.",
        {
            **_CRITERION,
            "outcome": "outcome (higher is better) or dropout",
            "topic": "pattern (repaired, unrepaired, none), damage_time (early, late), severity (clients with ruptures), number (per ten "
            "judged sessions), coasting (level and variability of the alliance, without criterion)",
            "term": "contrast or predictor; of dropout: what was known after each session",
            "covariates": "what is held constant; of dropout also the number of the session (with early symptoms: only later sessions)",
            "same_rater": "yes: one person gave the ratings or codes and the outcome (or judged the ending)",
            "n_events": "dropouts behind the number",
        },
        ("standardised_mean_difference", "slope_standardised", "predicted_difference", "hazard_ratio"),
    ),
)

TEXT, NUMBER, COUNT = "text", "number", "count"

MOMENTS = {
    "block": TEXT,
    "level": TEXT,
    "var1": TEXT,
    "var2": TEXT,
    "n": COUNT,
    "mean1": NUMBER,
    "mean2": NUMBER,
    "cov": NUMBER,
    "method": TEXT,
}
VCOV = {"model": TEXT, "parameter1": TEXT, "parameter2": TEXT, "cov": NUMBER}
DRAWS = {"model": TEXT, "parameter": TEXT, "draw": COUNT, "value": NUMBER}
PUBLISHED_EFFECTS = {"question": TEXT, "model": TEXT, "parameter": TEXT, "estimate": NUMBER, "n": COUNT, "std_error": NUMBER}

_ESTIMATES = {
    "question": TEXT,
    "model": TEXT,
    "parameter": TEXT,
    "level": TEXT,
    "estimate": NUMBER,
    "n_sessions": COUNT,
    "n_clients": COUNT,
    "n_therapists": COUNT,
    "status": TEXT,
    "reason": TEXT,
    "estimate_type": TEXT,
    "method": TEXT,
    "share_missing": NUMBER,
}
DESCRIPTIVE = {
    "measurement": {
        **dict.fromkeys(
            (
                *(
                    "table",
                    "instrument",
                    "form",
                    "derived_from",
                    "rater",
                    "window",
                    "instrument_scale",
                    "item",
                    "coefficient",
                    "contrast",
                    "headline",
                ),
                *("definition", "factor", "indicator", "index", "across", "groups", "decision", "instruments", "reference", "set", "group"),
                *("variable", "structure", "raters"),
            ),
            TEXT,
        ),
        **dict.fromkeys(("ci_low", "ci_high", "n_raters", "categories"), NUMBER),
        "n_items": COUNT,
    },
    "convergent_validity": {
        "pair_level": TEXT,
        **{key: TEXT for key in _PAIR_KEYS if key != "level"},
        **dict.fromkeys(("rater", "pairs_kind", "instrument", "approach"), TEXT),
        "n_pairs": COUNT,
        **{key: TEXT for key in _PREDICTION_KEYS},
        "contrast": TEXT,
        **dict.fromkeys(("t_independent", "p_independent"), NUMBER),
    },
    "path_models": {
        **dict.fromkeys(
            ("topic", "variable", "rater", "window", "phase", "form", "where", "pair", "group", "contrast", "same_rater"), TEXT
        ),
        **dict.fromkeys(("lhs", "op", "rhs", "interval", "index", "comparison", "compared_model", "against", "effect", "definition"), TEXT),
        **dict.fromkeys(("ci_low", "ci_high"), NUMBER),
        **dict.fromkeys(("pair", "dynamics", "term", "explained", "predictor", "lag"), TEXT),
        "chain": TEXT,
    },
    "dropout": {
        **dict.fromkeys(("definition", "cause", "hazard_model", "link", "therapists", "term", "session", "same_rater"), TEXT),
        **dict.fromkeys(("group", "compared_with", "validation", "statistic"), TEXT),
        **dict.fromkeys(("n_events", "n_at_risk"), COUNT),
        **dict.fromkeys(("events_per_parameter", "p_boundary", "ci_low", "ci_high"), NUMBER),
    },
    "components": {
        **dict.fromkeys(("alliance_rater", "phase", "quantity", "component", "contrast", "same_rater", "topic", "condition"), TEXT),
        **dict.fromkeys(("ci_low", "ci_high"), NUMBER),
    },
    "interventions": {
        **dict.fromkeys(("topic", "event", "explained", "term", "part", "compared_with", "moderator", "window", "treatment"), TEXT),
        **dict.fromkeys(("after", "response", "group", "transition_model", "alliance_rater", "same_rater", "decision"), TEXT),
        **dict.fromkeys(("ci_low", "ci_high"), NUMBER),
        "n_events": COUNT,
    },
    "multiverse": {**dict.fromkeys(("score", "score_sd", "ci_low", "ci_high", "df"), NUMBER), "n_scores": COUNT},
    "course": {
        **dict.fromkeys(("alliance_rater", "growth_model", "term", "session", "sessions", "same_rater", "statistic", "surrogates"), TEXT),
        **dict.fromkeys(("p_permutation", "p_phases", "resultant", "ci_low", "ci_high", "df"), NUMBER),
    },
    "ruptures": {
        **dict.fromkeys(("criterion", "rule", "rated_by", "statistic", "unit", "surrogates", "compared_with", "same_rater"), TEXT),
        **dict.fromkeys(("outcome", "topic", "term", "covariates"), TEXT),
        **dict.fromkeys(("p_noise", "ci_low", "ci_high"), NUMBER),
        "n_events": COUNT,
    },
    "client_factors": {
        **dict.fromkeys((*_FACTOR_KEYS, "headline", "part", "analysis", "contrast", "outcome_rater", "form", "quantity"), TEXT),
        **dict.fromkeys(("where", "pair", "alliance_instrument", "index", "person", "characteristic"), TEXT),
        "n_factors": NUMBER,
    },
    "alliance_outcome": {
        **{key: TEXT for key in EFFECT_KEYS},
        **dict.fromkeys(("pair", "contrast", "phase", "sessions", "moderator", "where", "group", "explained", "part", "pattern"), TEXT),
        **dict.fromkeys(("delta", "df", "ci_low", "ci_high"), NUMBER),
    },
    "therapist_factors": {
        **dict.fromkeys(("topic", "factor", "factor_kind", "alliance_scale", "contrast", "alliance_rater", "window", "same_rater"), TEXT),
        **dict.fromkeys(("basis", "part", "trait", "case_mix"), TEXT),
        **dict.fromkeys(("ci_low", "ci_high", "df", "p_joint", "component", "p_boundary"), NUMBER),
    },
    "congruence": {
        **dict.fromkeys((*_DYAD_KEYS, "window", "statistic", "definition", "unit", "headline", "term", "moderator", "contrast"), TEXT),
        **dict.fromkeys(("explained", "explained_rater", "part", "effect", "predictor_rater", "same_rater"), TEXT),
        **dict.fromkeys(("surface", "kind", "outcome", "first", "second", "index", "decision"), TEXT),
        **dict.fromkeys(("bound", "p_equivalence", "ci_low", "ci_high"), NUMBER),
    },
    "early_gains": {
        **dict.fromkeys(
            ("window", "alliance_rater", "outcome_rater", "same_rater", "items", "covariates", "hypothesis", "statistic", "group", "shift"),
            TEXT,
        ),
        **dict.fromkeys(("denominator", "category", "rule"), TEXT),
        **dict.fromkeys(("n_gains", "n_unmatched", "n_unmeasured", "n_without"), COUNT),
        **dict.fromkeys(("mean_gain", "mean_without"), NUMBER),
        "ci_low": NUMBER,
        "ci_high": NUMBER,
    },
}


def estimates_schema(question: str) -> dict[str, str]:
    """Return the columns of a question's ``estimates.csv`` and whether each is text, number or count."""
    return {**_ESTIMATES, **DESCRIPTIVE.get(question, {})}


def table(question: str, name: str) -> Table:
    """Return the schema of one table; ``KeyError`` where there is none."""
    for schema in TABLES:
        if (schema.question, schema.name) == (question, name):
            return schema
    raise KeyError(f"{question}/{name}")


def typed(frame: pd.DataFrame, schema: dict[str, str]) -> pd.DataFrame:
    """Return a frame with exactly the columns of a schema: text ``str`` (never missing), numbers ``float64``, counts ``Int64``."""
    import pandas as pd

    given = {name: column for name, column in frame.items() if name in schema}
    return pd.DataFrame({name: _typed_column(given.get(name), kind, len(frame)) for name, kind in schema.items()})


def _typed_column(given: pd.Series | None, kind: str, size: int) -> Any:
    """Return the values of a column as an array of their kind, which holds nothing where the column is absent."""
    import numpy as np
    import pandas as pd

    if given is None:
        return array_of([""] * size if kind == TEXT else [None] * size, kind)
    if kind == TEXT:
        known = given.notna().tolist()
        # Frames come here several times, most of their columns as they should be.
        if isinstance(given.dtype, pd.StringDtype) and given.dtype.storage == "python" and all(known):
            return given.array
        return array_of([str(cell) if there else "" for cell, there in zip(given.tolist(), known, strict=True)], kind)
    if kind == NUMBER:
        return pd.to_numeric(given).to_numpy("float64", na_value=np.nan)
    return given.array if given.dtype == pd.Int64Dtype() else pd.to_numeric(given).astype("Int64").array


def array_of(cells: Sequence[Any], kind: str) -> Any:
    """Return text, numbers or counts as the array that columns of tables hold; None is an unknown number or count."""
    import numpy as np
    import pandas as pd

    if kind == TEXT:
        # Text is held as Python's: tables are read cell by cell, where Arrow's takes several times as long.
        return pd.array(np.array(cells, dtype=object), dtype=pd.StringDtype("python", na_value=np.nan))
    if kind == NUMBER:
        return np.array(cells, dtype="float64")
    unknown = np.array([cell is None for cell in cells], dtype=bool)
    return pd.arrays.IntegerArray(np.array([0 if cell is None else cell for cell in cells], dtype="int64"), unknown)


_COUNTS = (
    "n_sessions",
    "n_clients",
    "n_therapists",
    "n_sites",
    "n_pairs",
    "n_correlations",
    "n_items",
    "n_events",
    "n_at_risk",
    "n_specifications",
    "n_units",
    "n_gains",
    "n_unmatched",
    "n_unmeasured",
    "n_without",
)
_NUMBERS = ("estimate", "std_error", "ci_low", "ci_high", "share_missing", "published", "difference", *HETEROGENEITY)
NUMBERS_OF_ESTIMATE = ("estimate", "std_error", "ci_low", "ci_high", "difference", *HETEROGENEITY)


def table_types(schema: Table) -> dict[str, str]:
    """Return whether each column of a result table is text, number or count."""
    numbers = (*_NUMBERS, *schema.numbers)
    return {name: COUNT if name in (*_COUNTS, *schema.steps) else NUMBER if name in numbers else TEXT for name in schema.columns}


def _order(schema: Table) -> list[str]:
    return [*schema.identifying, "estimate_type", "claim", "_pooled", "site", "method"]


def _sorted(frame: pd.DataFrame, schema: Table) -> pd.DataFrame:
    return frame.take(_places(frame, schema)).reset_index(drop=True)


def _places(frame: pd.DataFrame, schema: Table) -> list[int]:
    """Return the positions of the rows in their order."""
    rows = list(zip(*(sortable(frame["site"].eq(POOLED) if name == "_pooled" else frame[name]) for name in _order(schema))))
    return sorted(range(len(rows)), key=rows.__getitem__)


def as_text(column: pd.Series) -> pd.Series:
    """Return the cells of a column as text."""
    import pandas as pd

    return column if pd.api.types.is_string_dtype(column.dtype) else column.astype(str)


def sortable(column: pd.Series) -> list[Any]:
    """Return the cells of a column as values that sort, what is not known last."""
    cells, known = column.tolist(), column.notna().tolist()
    return cells if all(known) else [(not there, cell if there else 0) for cell, there in zip(cells, known)]


def finish(frame: pd.DataFrame, question: str, name: str) -> pd.DataFrame:
    """Return a result table in its final form: all columns of its schema in their order, typed, rows sorted.

    Rows are sorted by the table's own keys, estimate type, claim, site (pooled rows last) and method.
    """
    schema = table(question, name)
    return _sorted(typed(frame, table_types(schema)), schema)


def number_kinds(frame: pd.DataFrame) -> pd.Series:
    """Return of every row of a table what kind of number its estimate is: usual, fine, or a probability.

    Raises
    ------
    KeyError
        Where a row's number is named by an index that is not declared in :data:`INDICES`.
    """
    kinds = frame["estimate_type"].map(_KINDS).fillna(USUAL).astype(object)
    if "statistic" in frame:
        kinds = kinds.mask(frame["statistic"].eq(SLOPE_PER_SESSION), FINE)
    if "index" not in frame:
        return kinds
    named = frame["estimate_type"].isin(NAMED_BY_INDEX)
    unknown = sorted(set(frame.loc[named, "index"]) - set(INDICES))
    if unknown:
        raise KeyError(f"what kind of number {unknown} is is not declared in INDICES (scripts/alliance/questions/contract.py)")
    return kinds.mask(named, frame["index"].map(INDICES))


class ContractError(ValueError):
    """A table does not hold what its schema says; the message lists every fault."""


def faults(frame: pd.DataFrame, question: str, name: str) -> list[str]:
    """Return every way in which a result table breaks its schema, in words."""
    schema = table(question, name)
    found = faults_of_rows(frame, schema)
    if tuple(frame.columns) != schema.columns:
        return found
    if name.startswith("site_") and frame["site"].eq(POOLED).any():
        found.append("pooled rows in a table of sites")
    identity = [*schema.identifying, "site", "estimate_type", "claim", "method"]
    if frame.duplicated(identity).any():
        found.append(f"rows that agree in {identity}")
    if _places(frame, schema) != list(range(len(frame))):
        found.append("rows are not in their order")
    return found


def faults_of_rows(frame: pd.DataFrame, schema: Table) -> list[str]:
    """Return every way in which the columns and the single rows of a table break its schema, in words."""
    import numpy as np

    if tuple(frame.columns) != schema.columns:
        missing = [column for column in schema.columns if column not in frame]
        unknown = [column for column in frame.columns if column not in schema.columns]
        return [f"columns are not those of the schema: missing {missing}, unknown {unknown}, or another order"]
    found = []
    for column, allowed in (
        ("estimate_type", schema.estimate_types),
        ("status", STATUSES),
        ("scale", SCALES),
        ("method", tuple(METHODS)),
    ):
        odd = sorted(set(frame[column]) - set(allowed))
        if odd:
            found.append(f"{column} holds {odd}; allowed: {list(allowed)}")
    numbers = [column for column in NUMBERS_OF_ESTIMATE if column in frame]
    silent = ~frame["status"].isin(WITH_NUMBERS)
    if frame.loc[silent, numbers].notna().any(axis=None):
        found.append("rows that are not estimated or withheld carry numbers")
    if frame.loc[silent | frame["status"].eq("flagged"), "reason"].eq("").any():
        found.append("rows that are flagged, not estimable or withheld give no reason")
    if frame.loc[~silent, "estimate"].isna().any():
        found.append("rows that are estimated lack the estimate")
    if np.isinf(frame[numbers].to_numpy(dtype=float)).any():
        found.append("infinite numbers")
    if (frame["ci_low"] > frame["ci_high"]).any():
        found.append("intervals whose lower end lies above the upper end")
    if frame["site"].eq("").any():
        found.append("rows without a site")
    if "index" in frame:
        odd = sorted(set(frame.loc[frame["estimate_type"].isin(NAMED_BY_INDEX), "index"]) - set(INDICES))
        if odd:
            found.append(f"index holds {odd}; declared: {list(INDICES)}")
    return found


def check(frame: pd.DataFrame, question: str, name: str) -> None:
    """Raise :class:`ContractError` naming every fault of a result table."""
    found = faults(frame, question, name)
    if found:
        raise ContractError(f"table {question}/{name}: " + "; ".join(found))
