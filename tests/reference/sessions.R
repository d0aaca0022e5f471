# Reference values of ratings in several sessions: two-level one-factor models (lavaan, semTools) and generalizability (psych, lme4).
# Usage: Rscript sessions.R FOLDER   (FOLDER holds one table a data set)   writes JSON
suppressMessages({library(lavaan); library(semTools); library(psych); library(lme4); library(jsonlite)})
options(warn = -1)
folder <- commandArgs(TRUE)[1]
alpha_of <- function(s) { p <- ncol(s); p / (p - 1) * (1 - sum(diag(s)) / sum(s)) }
plain <- function(m) unname(unclass(as.matrix(m)))

two_level <- function(d, items, cluster) {
  part <- function(level, l, e) paste0("level: ", level, "\n f", level, " =~ ",
    paste0(l, seq_along(items), "*", items, collapse = " + "), "\n",
    paste0(" ", items, " ~~ ", e, seq_along(items), "*", items, collapse = "\n"), "\n")
  sum_of <- function(x) paste0("(", paste0(x, seq_along(items), collapse = " + "), ")")
  share <- function(l, e) paste0(sum_of(l), "^2 / (", sum_of(l), "^2 + ", sum_of(e), ")")
  model <- paste0(part(1, "l", "e"), part(2, "b", "d"), "w := ", share("l", "e"), "\nv := ", share("b", "d"))
  d <- d[complete.cases(d[items]), ]
  fit <- sem(model, d, cluster = cluster, std.lv = TRUE, h1 = FALSE)
  est <- lavInspect(fit, "est"); table <- parameterEstimates(fit); defined <- table[table$op == ":=", ]
  # lavaan's own unrestricted covariances stop early; a model with all of them free goes on to the maximum
  pairs <- paste0(" ", outer(items, items, paste, sep = " ~~ ")[lower.tri(diag(length(items)), TRUE)], collapse = "\n")
  free <- sem(paste0("level: 1\n", pairs, "\nlevel: 2\n", pairs), d, cluster = cluster, h1 = FALSE)
  h1 <- lapply(lavInspect(free, "implied"), function(level) level$cov)
  list(converged = lavInspect(fit, "converged") && lavInspect(free, "converged"), n = nrow(d), loglik = as.numeric(logLik(fit)),
       loadings_within = as.numeric(est$within$lambda), errors_within = as.numeric(diag(est$within$theta)),
       loadings_between = as.numeric(est[[2]]$lambda), errors_between = as.numeric(diag(est[[2]]$theta)),
       omega_within = defined$est[1], se_within = defined$se[1], omega_between = defined$est[2], se_between = defined$se[2],
       omega_of_means = as.numeric(unlist(compRelSEM(fit, obs.var = FALSE, shared = "f2")$shared)[1]),
       covariance_within = plain(h1[[1]]), covariance_between = plain(h1[[2]]),
       alpha_within = alpha_of(h1[[1]]), alpha_between = alpha_of(h1[[2]]))
}

components <- function(fit, names) { v <- VarCorr(fit); c(sapply(names, function(n) v[[n]][1, 1]), residual = sigma(fit)^2) }
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9), check.conv.singular = "ignore", calc.derivs = FALSE)
general <- function(d, items) {
  p <- suppressMessages(multilevel.reliability(d, grp = "client", Time = "session", items = items, alpha = FALSE, lme = TRUE, lmer = FALSE))
  long <- na.omit(p$long)
  nested <- lmer(values ~ 1 + (1 | id / time), long, control = tight)
  crossed <- lmer(values ~ 1 + (1 | id) + (1 | time) + (1 | items) + (1 | id:time) + (1 | id:items) + (1 | items:time), long, control = tight)
  list(components = p$components[1:7, 1], nested = p$components[c("id", "id(time)", "residual"), 1],
       r_kf = p$RkF, r_1r = p$R1R, r_kr = p$RkR, r_c = p$Rc, r_krn = p$RkRn, r_cn = p$Rcn,
       nested_reml = unname(components(nested, c("id", "time:id"))),
       crossed_reml = unname(components(crossed, c("id", "time", "items", "id:time", "id:items", "items:time"))))
}

result <- list()
for (file in list.files(folder, "\\.csv$", full.names = TRUE)) {
  name <- sub("\\.csv$", "", basename(file)); d <- read.csv(file); items <- grep("^i[0-9]+$", names(d), value = TRUE)
  result[[name]] <- two_level(d, items, "client")
  if (name != "many") result[[name]]$general <- general(d, items)
}
result$demo <- two_level(Demo.twolevel, paste0("y", 1:6), "cluster")
result$demo_three <- two_level(Demo.twolevel, paste0("y", 1:3), "cluster")
cat(toJSON(result, digits = 12, auto_unbox = TRUE, na = "null"))
