// Sums what every suite reported (vitest JSON, pytest JUnit XML) and prints a line a suite, every skip with its
// reason, and the total as the last line. Ends with 1 when a suite left no report or a test failed.
import { existsSync, readFileSync } from "node:fs";

const suites = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };
let missing = 0;

function fromVitest(report) {
  const tests = report.testResults.flatMap((file) => file.assertionResults);
  const skipped = tests.filter((test) => ["pending", "skipped", "todo"].includes(test.status));
  return {
    passed: report.numPassedTests,
    failed:
      report.numFailedTests +
      report.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0).length,
    skipped: skipped.length,
    reasons: skipped.map((test) => test.fullName),
  };
}

function fromJunit(xml) {
  const suite = /<testsuite [^>]*>/.exec(xml)?.[0] ?? "";
  const number = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = number("failures") + number("errors");
  const skips = [
    ...xml.matchAll(/<testcase classname="([^"]*)" name="([^"]*)"[^>]*>\s*<skipped[^>]*message="([^"]*)"/g),
  ];
  return {
    passed: number("tests") - failed - number("skipped"),
    failed,
    skipped: number("skipped"),
    reasons: skips.map(([, file, name, message]) => `${file}.${name}: ${message}`),
  };
}

for (const file of suites) {
  if (!existsSync(file)) {
    console.log(`${file}: no report`);
    missing += 1;
    continue;
  }
  const text = readFileSync(file, "utf8");
  const counts = file.endsWith(".xml") ? fromJunit(text) : fromVitest(JSON.parse(text));
  console.log(`${file}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  for (const reason of counts.reasons) console.log(`  skipped: ${reason}`);
  for (const key of Object.keys(total)) total[key] += counts[key];
}

console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = missing > 0 || total.failed > 0 || total.passed === 0 ? 1 : 0;
