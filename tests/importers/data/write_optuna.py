"""Write the database behind `optuna.sql`: run this in an empty folder, with optuna installed."""

import math

import optuna


def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    trial.suggest_int("n", 1, 3)
    trial.suggest_categorical("kind", ["a", None, 2.5])
    trial.set_user_attr("note", {"ü": 1})
    for step, value in enumerate((1.0, math.nan, math.inf)):
        trial.report(value, step)
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise RuntimeError
    return x


study = optuna.create_study(storage="sqlite:///optuna.db", study_name="search")
study.optimize(objective, 3, catch=[RuntimeError])
study.enqueue_trial({"x": 0.5})
