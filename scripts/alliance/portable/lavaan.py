"""Path models as scripts for R: the model, the correlations within sites it was fitted to, and the call of lavaan that repeats the fit."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

CHECKED_WITH = "0.6-14"
"""Version of lavaan that the scripts' results were compared with."""

WIDTH = 120

_SETUP = """\
suppressPackageStartupMessages(library(lavaan))

# A symmetric matrix from its upper triangle, row by row.
symmetric <- function(values, names) {
  full <- matrix(0, length(names), length(names), dimnames = list(names, names))
  full[lower.tri(full, diag = TRUE)] <- values
  full[upper.tri(full)] <- t(full)[upper.tri(full)]
  full
}
"""

_FIT = """\
# lavaan counts whole clients; n is a harmonic mean over pairs of variables where some are missing. The matrices are scaled so
# that estimates and standard errors are those of n all the same, and measures() takes n for what depends on it.
whole <- floor(n)
divisor <- (n - 1) / n
moments <- within * divisor * whole / (whole - 1)
observed <- lavNames(lavaanify(model, fixed.x = FALSE), "ov")
place <- symmetric(seq_along(sampling[, 1]), variables)[observed, observed]
place <- place[lower.tri(place, diag = TRUE)]

# The variances of the correlations' diagonal are known to be 1 and have no standard error, so the covariance of the estimates is
# singular by construction: check.vcov is off.
fit <- sem(model, sample.cov = moments[observed, observed], sample.nobs = whole, fixed.x = FALSE, likelihood = "normal",
           estimator = "ML", se = "robust.sem", test = "satorra.bentler", NACOV = whole * divisor^2 * sampling[place, place],
           check.vcov = FALSE)

# The baseline model of CFI and TLI. Exogenous variables covary in it, also where the model writes their covariances out (lavaan's own
# baseline takes those to be zero).
pairs <- if (length(exogenous) > 1) combn(exogenous, 2, paste, collapse = " ~~ ")
baseline <- sem(c(paste(observed, "~~", observed), pairs), sample.cov = moments[observed, observed], sample.nobs = whole,
                fixed.x = FALSE)

# Measures of fit under the names they have in fit.csv.
measures <- function(fit, n) {
  m <- as.list(fitMeasures(fit))
  m[c("baseline.chisq", "baseline.df")] <- fitMeasures(baseline, c("chisq", "df"))
  ratio <- n / sum(lavInspect(fit, "nobs"))
  chi2 <- m$chisq * ratio
  baseline <- m$baseline.chisq * ratio
  excess <- max(chi2 - m$df, 0)
  deviance <- -2 * m$logl * ratio
  values <- c(chi2 = chi2, df = m$df)
  if (m$df > 0) {
    values <- c(values, p_value = pchisq(chi2, m$df, lower.tail = FALSE), scaling = m$chisq.scaling.factor * ratio,
                chi2_scaled = m$chisq.scaled, p_value_scaled = m$pvalue.scaled,
                cfi = 1 - excess / max(baseline - m$baseline.df, excess, .Machine$double.eps),
                tli = 1 - (chi2 - m$df) / m$df * m$baseline.df / (baseline - m$baseline.df),
                rmsea = sqrt(excess / (m$df * n)))
  }
  c(values, srmr = m$srmr, aic = deviance + 2 * m$npar, bic = deviance + log(n) * m$npar)
}

cat("\\nEstimates, in SD within sites (defined parameters at the end)\\n")
print(parameterEstimates(fit), nd = 4)
cat("\\nStandardised: the numbers of parameters.csv and defined.csv, with method pooled_covariance\\n")
print(standardizedSolution(fit), nd = 4)
cat("\\nFit: the numbers of fit.csv, with method pooled_covariance\\n")
print(round(measures(fit, n), 4))
"""

_FIT_GROUPS = """\
# lavaan counts whole clients; n are harmonic means over pairs of variables where some are missing. It is told of 1000 clients for each,
# so that groups have their weight; measures() and the covariance of the estimates take n.
whole <- round(1000 * n)
divisor <- (n - 1) / n
observed <- lavNames(lavaanify(model, ngroups = length(groups), fixed.x = FALSE), "ov")
moments <- Map(function(matrix, d, w) (matrix * d * w / (w - 1))[observed, observed], within, divisor, whole)
place <- symmetric(seq_len(length(variables) * (length(variables) + 1) / 2), variables)[observed, observed]
place <- place[lower.tri(place, diag = TRUE)]
size <- length(place)
place <- unlist(lapply(seq_along(groups), function(group) (group - 1) * size + place))
sampling <- sampling[place, place] * tcrossprod(rep(divisor, each = size))

fit <- sem(model, sample.cov = moments, sample.nobs = whole, group.label = groups, group.equal = group_equal,
           group.partial = group_partial, meanstructure = FALSE, fixed.x = FALSE, likelihood = "normal", estimator = "ML",
           se = "robust.sem", test = "satorra.bentler", NACOV = lapply(seq_along(groups), function(group) {
             own <- (group - 1) * size + seq_len(size)
             whole[group] * sampling[own, own]
           }), check.vcov = FALSE)

# lavaan takes groups as independent. Here a therapist can have clients in several: the covariance of the estimates is the sandwich with
# the sampling covariance of all groups' moments at once, and so is the scaling factor of chi-squared.
slopes <- do.call(rbind, lavInspect(fit, "delta"))
weights <- lavInspect(fit, "wls.v")
weight <- matrix(0, nrow(slopes), nrow(slopes))
for (group in seq_along(groups)) {
  own <- (group - 1) * size + seq_len(size)
  weight[own, own] <- n[group] * weights[[group]]
}
free <- if (fit@Model@eq.constraints) fit@Model@eq.constraints.K else diag(ncol(slopes))
slopes <- slopes %*% free
bread <- solve(t(slopes) %*% weight %*% slopes)
turn <- bread %*% t(slopes) %*% weight
fit@vcov$vcov <- free %*% turn %*% sampling %*% t(turn) %*% t(free)
fit@ParTable$se <- lavaan:::lav_model_vcov_se(fit@Model, lavpartable = fit@ParTable, VCOV = fit@vcov$vcov)
unexplained <- sum(diag((weight - weight %*% slopes %*% turn) %*% sampling))

pairs <- if (length(exogenous) > 1) combn(exogenous, 2, paste, collapse = " ~~ ")
baseline <- sem(c(paste(observed, "~~", observed), pairs), sample.cov = moments, sample.nobs = whole, group.label = groups,
                meanstructure = FALSE, fixed.x = FALSE)

# Measures of fit under the names they have in fit.csv.
measures <- function(fit, n) {
  m <- as.list(fitMeasures(fit))
  m[c("baseline.chisq", "baseline.df")] <- fitMeasures(baseline, c("chisq", "df"))
  ratio <- sum(n) / sum(lavInspect(fit, "nobs"))
  chi2 <- m$chisq * ratio
  baseline <- m$baseline.chisq * ratio
  excess <- max(chi2 - m$df, 0)
  deviance <- -2 * m$logl * ratio
  values <- c(chi2 = chi2, df = m$df)
  if (m$df > 0) {
    scaling <- unexplained / m$df
    values <- c(values, p_value = pchisq(chi2, m$df, lower.tail = FALSE), scaling = scaling, chi2_scaled = chi2 / scaling,
                p_value_scaled = pchisq(chi2 / scaling, m$df, lower.tail = FALSE),
                cfi = 1 - excess / max(baseline - m$baseline.df, excess, .Machine$double.eps),
                tli = 1 - (chi2 - m$df) / m$df * m$baseline.df / (baseline - m$baseline.df),
                rmsea = sqrt(excess * length(n) / (m$df * sum(n))))
  }
  c(values, srmr = m$srmr, aic = deviance + 2 * m$npar, bic = deviance + log(sum(n)) * m$npar)
}

cat("\\nEstimates, in SD within sites and groups (defined parameters at the end)\\n")
print(parameterEstimates(fit), nd = 4)
cat("\\nStandardised: the numbers of parameters.csv and defined.csv, with method pooled_covariance\\n")
print(standardizedSolution(fit), nd = 4)
cat("\\nFit: the numbers of fit.csv, with method pooled_covariance\\n")
print(round(measures(fit, n), 4))
"""

_GROUPS = """\
# All sites at once, every site a group, with equal regressions and loadings. Variables are standardised within sites, since
# sites may measure them with other instruments; where all use the same one, take cov2cor away. Clients count as independent here.
together <- try(sem(model, sample.cov = lapply(unname(sites), cov2cor), sample.nobs = unname(floor(n_of_sites)),
                    group.label = names(sites), fixed.x = FALSE, group.equal = c("loadings", "regressions")), silent = TRUE)
cat("\\nSites as groups, with equal regressions\\n")
if (inherits(together, "try-error")) {
  cat("lavaan cannot fit the sites together:", conditionMessage(attr(together, "condition")), "\\n")
} else {
  print(parameterEstimates(together), nd = 4)
  print(fitMeasures(together, c("chisq", "df", "pvalue", "cfi", "rmsea", "srmr")))
}
"""


@dataclass(frozen=True)
class LavaanModel:
    """What a script tells of one path model.

    Attributes
    ----------
    name, label, syntax : str
        As configured.
    study, scenario : str
        Title of the study, and the scenario.
    simulated : bool
        Whether the study's data are simulated.
    variables : sequence of str
        In the order of the matrices.
    exogenous : sequence of str
        Those of them that predict and are not predicted.
    sites : mapping of str to tuple
        Clients (harmonic mean over pairs of variables) and covariance matrix of each site that may be shown.
    min_clients : int
        Fewest clients behind any number.
    correlation : ndarray, shape (p, p), optional
        Correlations within sites, pooled; None where they cannot be.
    sampling : ndarray, shape (p (p + 1) / 2,) * 2, optional
        Sampling covariance of its elements (upper triangle row by row).
    n : float
        Degrees of freedom within sites plus 1.
    n_sites, n_clients : int
        What the correlations rest on.
    reason : str
        Why the model has no estimates over sites, or why they are flagged.
    groups : sequence of str
        Groups of clients that the model is for; empty: all clients. ``correlation`` then holds covariances, shape (G, p, p), ``sampling``
        the sampling covariance of the elements of all of them, and ``n`` a number for each.
    group_equal, group_partial : sequence of str
        As configured.
    """

    name: str
    label: str
    syntax: str
    study: str
    scenario: str
    simulated: bool
    variables: Sequence[str]
    exogenous: Sequence[str]
    min_clients: int
    sites: Mapping[str, tuple[float, np.ndarray]] = field(default_factory=dict)
    correlation: np.ndarray | None = None
    sampling: np.ndarray | None = None
    n: float | Sequence[float] = 0.0
    n_sites: int = 0
    n_clients: int = 0
    reason: str = ""
    groups: Sequence[str] = ()
    group_equal: Sequence[str] = ()
    group_partial: Sequence[str] = ()


def lavaan_script(model: LavaanModel) -> str:
    """Return the R script of a model.

    Without correlations over sites it holds the model and the sites' matrices, or only the model, and says why.
    """
    fitted = model.correlation is not None and model.sampling is not None
    parts = [_header(model, fitted), _SETUP, f"model <- '\n{_quoted(model.syntax.strip())}\n'\n"]
    parts.append(f"variables <- {_texts(model.variables)}\nexogenous <- {_texts(model.exogenous)}\n")
    if model.groups:
        parts.append(
            f"groups <- {_texts(model.groups)}\ngroup_equal <- {_texts(model.group_equal or [''])}\n"
            f"group_partial <- {_texts([_partial(text) for text in model.group_partial or ['']])}\n"
        )
    if fitted and model.groups:
        matrices = ",\n".join(f"  symmetric({_numbers(_upper(one))}, variables)" for one in model.correlation)
        parts += [
            "# Covariances within sites, in SD within sites and groups, "
            f"pooled over {model.n_sites} sites with {model.n_clients} clients.\n"
            f"within <- list(\n{matrices}\n)\n",
            f"n <- c({', '.join(_number(n) for n in model.n)})\n",
            "# How the elements of these matrices covary over samples (upper triangles, row by row, group after group): at the sites from\n"
            "# leaving out therapists, or clients where therapists are not known.\n"
            f"sampling <- symmetric({_numbers(_upper(model.sampling))},\n  seq_len({len(model.sampling)}))\n",
            _FIT_GROUPS,
        ]
    elif fitted:
        parts += [
            f"# Correlations within sites, pooled over {model.n_sites} sites with {model.n_clients} clients.\n"
            f"within <- symmetric({_numbers(_upper(model.correlation))}, variables)\n",
            f"n <- {_number(model.n)}\n",
            "# How the elements of that matrix covary over samples (its upper triangle, row by row): at the sites from leaving out\n"
            "# therapists, or clients where therapists are not known.\n"
            f"sampling <- symmetric({_numbers(_upper(model.sampling))},\n  seq_len({len(model.sampling)}))\n",
            _FIT,
        ]
    if model.sites:
        matrices = ",\n".join(
            f"  {_text(site)} = symmetric({_numbers(_upper(covariance))}, variables)" for site, (_, covariance) in model.sites.items()
        )
        sizes = ", ".join(f"{_text(site)} = {_number(n)}" for site, (n, _) in model.sites.items())
        parts += [
            f"# Covariances at each site with at least {model.min_clients} clients.\nsites <- list(\n{matrices}\n)\n"
            f"n_of_sites <- c({sizes})\n",
            _GROUPS,
        ]
    if not fitted and not model.sites:
        parts.append('cat("No site has all variables of this model, so there is nothing to fit; the syntax is above.\\n")\n')
    return "\n".join(parts)


def _header(model: LavaanModel, fitted: bool) -> str:
    data = " SIMULATED DATA: the numbers say nothing about real clients." if model.simulated else ""
    lines = [
        model.label,
        f"Path model {model.name} of the study: {model.study} (scenario {model.scenario}).{data}",
        "",
        f"Run: Rscript {model.name}.R   (needs R and its package lavaan; checked with lavaan {CHECKED_WITH})",
        "",
    ]
    if fitted:
        matrices = "covariances" if model.groups else "correlations"
        lines.append(
            "Repeats in R what the tables of path_models give for this model with method pooled_covariance: the model fitted to the "
            f"{matrices} within {model.n_sites} sites. Only summaries are in this file: no client's row, and nothing from fewer than "
            f"{model.min_clients} clients."
        )
    else:
        lines.append(f"The tables have no estimates over sites for this model. {_sentence(model.reason)}")
    if fitted and model.reason:
        lines.append(f"Flagged in the tables: {_sentence(model.reason)}")
    return "".join(f"{line}\n" for text in lines for line in _comment(text))


def _comment(text: str) -> list[str]:
    wrapped = textwrap.wrap(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped] or ["#"]


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _texts(texts: Sequence[str]) -> str:
    return f"c({', '.join(_text(text) for text in texts)})" if texts else "character(0)"


def _number(value: float) -> str:
    return f"{float(value):.17g}"


def _numbers(values: np.ndarray) -> str:
    """Return numbers as an R vector, wrapped."""
    return textwrap.fill(f"c({', '.join(_number(value) for value in values)})", WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _partial(term: str) -> str:
    """Return a term of ``group_partial`` as lavaan wants it, without blanks."""
    return "".join(term.split())


def _upper(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix, dtype=float)
    return matrix[np.triu_indices(len(matrix))]
