// The range of the accuracy's history; longer ones than on the overview, since labels are rare.
import { Value } from "../core/value.js";

export const RANGES = {
  hour: { name: "1 h", granularity: "minute", limit: 61, ms: 3_600_000 },
  day: { name: "1 day", granularity: "minute", limit: 1000, ms: 86_400_000 },
  days: { name: "14 days", granularity: "hour", limit: 14 * 24, ms: 14 * 86_400_000 },
  year: { name: "1 year", granularity: "day", limit: 366, ms: 366 * 86_400_000 },
};

export const range = new Value("hour");

export const chosenRange = () => RANGES[range.get()];
