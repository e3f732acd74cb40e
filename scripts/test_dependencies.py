"""Tests of check_dependencies.py: python3 -B -m unittest discover --start-directory scripts"""

import unittest

from check_dependencies import CRATES_IO, holds, problems

ALLOWED = {"MIT", "Apache-2.0", "ISC"}


class Licences(unittest.TestCase):
    def test_licence_expressions_are_evaluated(self):
        for expression, allowed in [
            ("MIT", True),
            ("GPL-3.0-only", False),
            ("MIT OR GPL-3.0-only", True),
            ("MIT/Apache-2.0", True),
            ("MIT AND GPL-3.0-only", False),
            ("(MIT OR GPL-3.0-only) AND ISC", True),
            ("ISC AND (GPL-3.0-only OR LGPL-3.0-only)", False),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", True),
            ("GPL-3.0-only OR MIT AND ISC", True),
            ("", False),
            ("(MIT", False),
            ("MIT ISC", False),
        ]:
            self.assertEqual(holds(expression, ALLOWED), allowed, expression)

    def test_violations_are_reported(self):
        def package(name, source=CRATES_IO, license="MIT", dependencies=()):
            dependencies = [{"name": one, "req": "*"} for one in dependencies]
            return {"id": name, "name": name, "version": "1.0.0", "source": source, "license": license,
                    "dependencies": dependencies}

        packages = [
            package("own", source=None, dependencies=["anything"]),
            package("good"),
            package("copyleft", license="GPL-3.0-only"),
            package("elsewhere", source="git+https://example.com/elsewhere"),
            package("silent", license=None),
        ]
        found = list(problems({"packages": packages, "workspace_members": ["own"]}, {"licenses": {"allow": ALLOWED}}))
        self.assertEqual([line.split()[0] for line in found], ["own", "copyleft", "elsewhere", "silent"])


if __name__ == "__main__":
    unittest.main()
