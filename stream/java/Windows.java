/** What Trends works with: event time of several partitions, the counts of a slide and of a task's windows, and the top of these. */
class Clock {

  private static final long NONE = Long.MIN_VALUE;

  private final long idleMs;
  private final java.util.ArrayList partitions = new java.util.ArrayList();
  private long now;
  private long ticked = NONE;

  Clock(long idleMs, int expected) {
    this.idleMs = idleMs;
    partition(expected - 1);
  }

  private Partition partition(int number) {
    while (partitions.size() <= number) {
      partitions.add(new Partition());
    }
    return (Partition) partitions.get(number);
  }

  void seen(int number, long time) {
    Partition partition = partition(number);
    partition.time = Math.max(partition.time, time);
    partition.seen = now;
  }

  /** Lets time pass, but not that in which the thread stood still: a partition is idle if it had its chance and gave nothing. */
  void tick(long machine, long tickMs) {
    now += ticked == NONE ? 0 : Math.max(0, Math.min(machine - ticked, 2 * tickMs));
    ticked = machine;
  }

  private boolean idle(Partition partition) {
    return now - partition.seen > idleMs;
  }

  /** Returns whether nothing has come from any partition for a while. */
  boolean idle() {
    for (int i = 0; i < partitions.size(); i++) {
      if (!idle((Partition) partitions.get(i))) {
        return false;
      }
    }
    return true;
  }

  /** Returns the time that all partitions have reached that are not idle; before that is known, the lowest number. */
  long eventTime() {
    long time = Long.MAX_VALUE;
    for (int i = 0; i < partitions.size(); i++) {
      Partition partition = (Partition) partitions.get(i);
      if (!idle(partition)) {
        time = Math.min(time, partition.time);
      }
    }
    return time == Long.MAX_VALUE ? NONE / 2 : Math.max(time, NONE / 2);
  }

  byte[] save(Head head) throws java.io.IOException {
    head.out.writeInt(partitions.size());
    for (int i = 0; i < partitions.size(); i++) {
      head.out.writeLong(((Partition) partitions.get(i)).time);
    }
    return head.bytes();
  }

  void restore(java.io.DataInputStream in, boolean usable) throws java.io.IOException {
    if (!usable) {
      return;
    }
    int count = in.readInt();
    for (int i = 0; i < count; i++) {
      partition(i).time = in.readLong();
    }
  }

  private static final class Partition {
    long time = NONE;
    long seen;
  }
}

/** The beginning of an element of the state. */
class Head {

  private final java.io.ByteArrayOutputStream bytes = new java.io.ByteArrayOutputStream();
  final java.io.DataOutputStream out = new java.io.DataOutputStream(bytes);

  Head(int version, long slideMs, String name, long start) throws java.io.IOException {
    out.writeInt(version);
    out.writeLong(slideMs);
    out.writeUTF(name);
    out.writeLong(start);
  }

  byte[] bytes() {
    return bytes.toByteArray();
  }
}

/** In how many texts of a slide a name stands. */
class Cell {
  int count;
  long text;
}

/** The texts of a slide, and the counts of its names by kind. */
class Slide {

  private static final int KINDS = 3;

  final java.util.HashMap[] counts = new java.util.HashMap[KINDS];
  final long[] missed = new long[KINDS];
  long texts;
  byte[] bytes;

  Slide() {
    for (int i = 0; i < KINDS; i++) {
      counts[i] = new java.util.HashMap();
    }
  }

  long names() {
    long names = 0;
    for (int i = 0; i < KINDS; i++) {
      names += counts[i].size();
    }
    return names;
  }

  byte[] save(Head head) throws java.io.IOException {
    if (bytes != null) {
      return bytes;
    }
    head.out.writeLong(texts);
    for (int i = 0; i < KINDS; i++) {
      head.out.writeLong(missed[i]);
      head.out.writeInt(counts[i].size());
      for (java.util.Iterator each = counts[i].entrySet().iterator(); each.hasNext(); ) {
        java.util.Map.Entry entry = (java.util.Map.Entry) each.next();
        head.out.writeUTF((String) entry.getKey());
        head.out.writeInt(((Cell) entry.getValue()).count);
      }
    }
    bytes = head.bytes();
    return bytes;
  }

  Slide read(java.io.DataInputStream in) throws java.io.IOException {
    texts = in.readLong();
    for (int i = 0; i < KINDS; i++) {
      missed[i] = in.readLong();
      int size = in.readInt();
      for (int j = 0; j < size; j++) {
        String name = in.readUTF();
        Cell cell = new Cell();
        cell.count = in.readInt();
        counts[i].put(name, cell);
      }
    }
    return this;
  }
}

/** How often a name stands in the newest closed window and in the one before. */
class Sum {

  final String name;
  int now;
  int before;

  Sum(String name) {
    this.name = name;
  }
}

/** What is counted of a task: its slides by their start, and the sums of two windows of them. */
class Task {

  final java.util.TreeMap slides = new java.util.TreeMap();
  final java.util.HashMap[] sums = {new java.util.HashMap(), new java.util.HashMap(), new java.util.HashMap()};
  long late;
  long lost;

  void sum(int kind, Object name, int now, int before) {
    Sum sum = (Sum) sums[kind].get(name);
    if (sum == null) {
      sum = new Sum((String) name);
      sums[kind].put(name, sum);
    }
    sum.now += now;
    sum.before += before;
    if (sum.now == 0 && sum.before == 0) {
      sums[kind].remove(name);
    }
  }

  /** Adds the slide so many times to the sums of the window and of the one before. */
  void move(long start, int now, int before) {
    Slide slide = (Slide) slides.get(Long.valueOf(start));
    if (slide == null) {
      return;
    }
    for (int kind = 0; kind < sums.length; kind++) {
      for (java.util.Iterator each = slide.counts[kind].entrySet().iterator(); each.hasNext(); ) {
        java.util.Map.Entry entry = (java.util.Map.Entry) each.next();
        int count = ((Cell) entry.getValue()).count;
        sum(kind, entry.getKey(), now * count, before * count);
      }
    }
  }

  /** Returns texts, and by how much a count may be too low, from `start` up to `end`. */
  long[] totals(long start, long end, int kind) {
    long[] totals = new long[2];
    java.util.Map within = slides.subMap(Long.valueOf(start), Long.valueOf(end));
    for (java.util.Iterator each = within.values().iterator(); each.hasNext(); ) {
      Slide slide = (Slide) each.next();
      totals[0] += slide.texts;
      totals[1] += slide.missed[kind];
    }
    return totals;
  }

  /** Makes the sums anew, drops what is too old for them, and returns how many names are held. */
  long restored(long closed, long windowMs) {
    long held = 0;
    for (java.util.Iterator each = slides.entrySet().iterator(); each.hasNext(); ) {
      java.util.Map.Entry entry = (java.util.Map.Entry) each.next();
      long start = ((Long) entry.getKey()).longValue();
      if (closed != Long.MIN_VALUE && start < closed - 2 * windowMs) {
        each.remove();
        continue;
      }
      held += ((Slide) entry.getValue()).names();
      if (closed != Long.MIN_VALUE && start < closed) {
        move(start, start >= closed - windowMs ? 1 : 0, start >= closed - windowMs ? 0 : 1);
      }
    }
    return held;
  }

  byte[] save(Head head) throws java.io.IOException {
    head.out.writeLong(late);
    head.out.writeLong(lost);
    return head.bytes();
  }
}

/** The most frequent names of a window, equal ones by their code points; without words that the stream always says. */
class Top {

  private static final int LEAST_TEXTS = 100;
  private static final int LEAST_COUNT = 10;
  private static final double USUAL = 0.01;
  private static final double USUAL_ALONE = 0.1;
  private static final double DEVIATIONS = 3.0;

  private final int most;
  private final boolean words;
  private final double texts;
  private final double textsBefore;
  private final java.util.ArrayList found = new java.util.ArrayList();

  Top(int most, boolean words, long texts, long textsBefore) {
    this.most = most;
    this.words = words;
    this.texts = texts;
    this.textsBefore = textsBefore;
  }

  java.util.List of(java.util.Map sums) {
    for (java.util.Iterator each = sums.values().iterator(); each.hasNext(); ) {
      Sum sum = (Sum) each.next();
      if (sum.now > 0 && (found.size() < most || first(sum, (Sum) found.get(most - 1))) && !(words && usual(sum))) {
        insert(sum);
      }
    }
    return found;
  }

  /** Returns whether a word is frequent, and not more so than before by more than chance. */
  private boolean usual(Sum sum) {
    if (textsBefore >= LEAST_TEXTS) {
      double expected = sum.before / textsBefore * texts;
      return sum.before >= LEAST_COUNT
          && sum.before >= USUAL * textsBefore
          && sum.now <= expected + DEVIATIONS * Math.sqrt(expected);
    }
    return texts >= LEAST_TEXTS && sum.now >= LEAST_COUNT && sum.now >= USUAL_ALONE * texts;
  }

  private void insert(Sum sum) {
    int at = found.size();
    while (at > 0 && first(sum, (Sum) found.get(at - 1))) {
      at--;
    }
    found.add(at, sum);
    if (found.size() > most) {
      found.remove(most);
    }
  }

  private static boolean first(Sum one, Sum other) {
    return one.now != other.now ? one.now > other.now : order(one.name, other.name) < 0;
  }

  private static int order(String one, String other) {
    int at = 0;
    while (at < one.length() && at < other.length()) {
      int a = one.codePointAt(at);
      int b = other.codePointAt(at);
      if (a != b) {
        return a - b;
      }
      at += Character.charCount(a);
    }
    return one.length() - other.length();
  }
}
