"""Trains tree models with common libraries and exports them to ONNX, for the tests of crates/native and crates/model.

    python -m venv var/venv-trees && var/venv-trees/bin/pip install -r tests/golden/requirements-trees.txt
    var/venv-trees/bin/python tests/golden/trees.py var/trees
    PROFFER_TEST_TREES=$PWD/var/trees cargo test -p proffer-model --test native_engine

`make test` does the same. Every seed is fixed, so the same versions give the same models. `--small` leaves out the
largest models: those with 2,000 trees, or with 255 or more leaves.
"""

import argparse
import pathlib
import warnings

import numpy as np
import onnx
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

FEATURES = 12
ROWS = 4000
OPSETS = {"": 15, "ai.onnx.ml": 3}


def data(seed, missing=False, categorical=False):
    """Features of several scales, with ties, zeros and optional missing values, and a target that depends on them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1] * 2)
    x[:, 2] = np.exp(4 * x[:, 2])
    x[:, 3] = rng.integers(0, 40, ROWS)
    x[:, 4] = np.where(rng.random(ROWS) < 0.5, 0, x[:, 4])
    effect = (x[:, 3] * 7919 % 40) / 20 - 1 if categorical else x[:, 3] / 20 - 1
    signal = x[:, 0] * x[:, 1] + effect - np.log1p(x[:, 2]) / 4 + np.abs(x[:, 4]) + rng.normal(size=ROWS) / 2
    if missing:
        gaps = rng.random(x.shape) < 0.15
        gaps[:, 3] = False
        x[gaps] = np.nan
    return x, signal


def binary(signal):
    return (signal > np.median(signal)).astype(np.int64)


def classes(signal, count):
    return np.digitize(signal, np.quantile(signal, np.linspace(0, 1, count + 1)[1:-1])).astype(np.int64)


def floats():
    return [("features", FloatTensorType([None, FEATURES]))]


def lightgbm_models(small):
    import lightgbm as lgb

    def fit(kind, leaves, trees, target, missing=False, categorical=False, **more):
        x, signal = data(leaves + trees, missing, categorical)
        model = kind(
            num_leaves=leaves, n_estimators=trees, min_child_samples=5, random_state=7, n_jobs=1, verbose=-1, **more
        )
        return model.fit(x, target(signal), categorical_feature=[3] if categorical else "auto")

    def export(model, **options):
        return convert_lightgbm(model, initial_types=floats(), target_opset=15, **options)

    yield "lightgbm_31", export(fit(lgb.LGBMClassifier, 31, 120, binary), zipmap=False)
    yield "lightgbm_63_zipmap", export(fit(lgb.LGBMClassifier, 63, 60, binary))
    yield "lightgbm_missing", export(fit(lgb.LGBMClassifier, 31, 60, binary, missing=True), zipmap=False)
    yield "lightgbm_zero_as_missing", export(
        fit(lgb.LGBMClassifier, 31, 40, binary, missing=True, zero_as_missing=True), zipmap=False
    )
    yield "lightgbm_categorical", export(fit(lgb.LGBMClassifier, 31, 60, binary, categorical=True), zipmap=False)
    yield "lightgbm_multiclass", export(
        fit(lgb.LGBMClassifier, 31, 20, lambda signal: classes(signal, 4)), zipmap=False
    )
    yield "lightgbm_regressor", export(fit(lgb.LGBMRegressor, 31, 80, lambda signal: signal))
    yield "lightgbm_regressor_split", export(fit(lgb.LGBMRegressor, 15, 50, lambda signal: signal), split=20)
    yield "lightgbm_one_tree", export(fit(lgb.LGBMClassifier, 31, 1, binary), zipmap=False)
    if not small:
        yield "lightgbm_255", export(fit(lgb.LGBMClassifier, 255, 60, binary), zipmap=False)
        yield "lightgbm_1000", export(fit(lgb.LGBMClassifier, 1000, 10, binary), zipmap=False)
        yield "lightgbm_2000_trees", export(fit(lgb.LGBMClassifier, 15, 2000, binary), zipmap=False)


def xgboost_models():
    import xgboost as xgb

    def fit(kind, depth, target, missing=False, trees=60):
        x, signal = data(depth, missing)
        return kind(max_depth=depth, n_estimators=trees, random_state=7, n_jobs=1).fit(x, target(signal))

    def export(model):
        return convert_xgboost(model, initial_types=floats(), target_opset=15)

    for depth in (4, 6, 8):
        yield f"xgboost_depth_{depth}", export(fit(xgb.XGBClassifier, depth, binary))
    yield "xgboost_missing", export(fit(xgb.XGBClassifier, 6, binary, missing=True))
    yield "xgboost_multiclass", export(fit(xgb.XGBClassifier, 4, lambda signal: classes(signal, 3)))
    yield "xgboost_regressor", export(fit(xgb.XGBRegressor, 6, lambda signal: signal, missing=True))


def catboost_models(folder):
    import catboost as cb

    def fit(name, kind, target, missing=False):
        x, signal = data(len(name), missing)
        model = kind(
            iterations=80, depth=6, random_seed=7, verbose=False, allow_writing_files=False, thread_count=1
        )
        model.fit(x, target(signal))
        path = folder / f"{name}.onnx"
        model.save_model(str(path), format="onnx")
        return name, onnx.load(path)

    yield fit("catboost", cb.CatBoostClassifier, binary)
    yield fit("catboost_missing", cb.CatBoostClassifier, binary, missing=True)
    yield fit("catboost_multiclass", cb.CatBoostClassifier, lambda signal: classes(signal, 3))
    yield fit("catboost_regressor", cb.CatBoostRegressor, lambda signal: signal)


def accept_numpy_integers():
    """Makes onnx accept NumPy integers: skl2onnx 1.20 passes them for histogram boosting."""
    from skl2onnx.common import _container

    original = _container.make_attribute if hasattr(_container, "make_attribute") else None
    make_node = onnx.helper.make_attribute

    def make_attribute(key, value, *rest, **more):
        if isinstance(value, list) and any(isinstance(one, np.integer) for one in value):
            value = [int(one) for one in value]
        return make_node(key, value, *rest, **more)

    onnx.helper.make_attribute = make_attribute
    if original is not None:
        _container.make_attribute = make_attribute


def sklearn_models():
    accept_numpy_integers()
    from skl2onnx import to_onnx
    from sklearn import ensemble, impute, pipeline, preprocessing, tree

    def export(model, target, options=None, missing=False, double=False, opset=None):
        x, signal = data(31, missing)
        model.fit(x, target(signal))
        options = {id(model): options} if options else None
        sample = x[:1].astype(np.float64) if double else x[:1]
        return to_onnx(model, sample, options=options, target_opset=opset or OPSETS)

    dense = {"zipmap": False}
    three = lambda signal: classes(signal, 3)  # noqa: E731
    named = lambda signal: np.where(signal > 0, "yes", "no")  # noqa: E731
    number = lambda signal: signal  # noqa: E731
    forest = ensemble.RandomForestClassifier
    yield "sklearn_tree", export(tree.DecisionTreeClassifier(max_depth=5, random_state=7), binary, dense)
    yield "sklearn_forest", export(forest(40, max_depth=6, random_state=7), binary, dense)
    yield "sklearn_forest_deep", export(forest(12, random_state=7), binary, dense)
    yield "sklearn_forest_zipmap", export(forest(20, max_depth=5, random_state=7), binary)
    yield "sklearn_forest_strings", export(forest(20, max_depth=5, random_state=7), named)
    yield "sklearn_forest_multiclass", export(forest(20, max_depth=7, random_state=7), three, dense)
    yield "sklearn_extra_trees", export(
        ensemble.ExtraTreesClassifier(20, max_depth=6, random_state=7), binary, dense
    )
    yield "sklearn_forest_regressor", export(
        ensemble.RandomForestRegressor(20, max_depth=7, random_state=7), number
    )
    yield "sklearn_forest_two_targets", export(
        ensemble.RandomForestRegressor(20, max_depth=5, random_state=7),
        lambda signal: np.stack([signal, signal**2], axis=1),
    )
    boosting = ensemble.GradientBoostingClassifier
    yield "sklearn_boosting", export(boosting(n_estimators=60, random_state=7), binary, dense)
    yield "sklearn_boosting_multiclass", export(boosting(n_estimators=20, random_state=7), three, dense)
    yield "sklearn_boosting_regressor", export(
        ensemble.GradientBoostingRegressor(n_estimators=60, random_state=7), number
    )
    yield "sklearn_histogram_boosting", export(
        ensemble.HistGradientBoostingClassifier(max_iter=40, random_state=7), binary, dense, missing=True
    )
    yield "sklearn_histogram_regressor", export(
        ensemble.HistGradientBoostingRegressor(max_iter=40, random_state=7), number, missing=True
    )
    yield "sklearn_forest_double", export(
        forest(20, max_depth=6, random_state=7), binary, dense, double=True, opset={"": 15, "ai.onnx.ml": 3}
    )
    scaled = pipeline.make_pipeline(
        impute.SimpleImputer(strategy="median"),
        preprocessing.StandardScaler(),
        boosting(n_estimators=30, random_state=7),
    )
    yield "sklearn_pipeline", export(scaled, binary, dense, missing=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--small", action="store_true", help="leave out the largest models")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    families = (
        lightgbm_models(arguments.small),
        xgboost_models(),
        catboost_models(arguments.folder),
        sklearn_models(),
    )
    for family in families:
        for name, model in family:
            path = arguments.folder / f"{name}.onnx"
            onnx.save(model, path)
            print(f"{name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
