/**
 * Counts the names of predictions in sliding windows of Kafka's time; docs/trending.md says what each number means.
 *
 * Rows pass through. Those of the kind "predictions" (record_value, task, start_ms: Kafka's time, total: the partition) are counted,
 * and a row of the kind "trending" leaves for each task and kind of name when a window closes. Compiled together with Names.
 *
 * A window is made of slides. Each slide has its counts, and each task the sums of the newest closed window and of the one before.
 * All lie on the heap, within a number of names, and are saved as bytes, of which those of a slide that has not changed are kept.
 */
public class Trends extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
    implements org.apache.flink.streaming.api.operators.OneInputStreamOperator,
        org.apache.flink.streaming.runtime.tasks.ProcessingTimeService.ProcessingTimeCallback {

  private static final int COLUMNS = 8;
  private static final int VERSION = 1;
  private static final int TICK_MS = 200;
  private static final long NONE = Long.MIN_VALUE;
  private static final String[] KINDS = {"word", "hashtag", "mention"};

  private final int top;
  private final long slideMs;
  private final long windowMs;
  private final long latenessMs;
  private final long idleMs;
  private final long mostNames;
  private final int[] mostOfSlide = new int[KINDS.length];
  private final Names names = new Names();
  private final java.util.Map tasks = new java.util.TreeMap();
  private final Clock clock;
  private final org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory json =
      new org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory();
  private org.apache.flink.api.common.state.ListState saved;
  private long closed = NONE;
  private long held;
  private long texts;

  public Trends(
      Object[] references,
      org.apache.flink.streaming.runtime.tasks.StreamTask task,
      org.apache.flink.streaming.api.graph.StreamConfig config,
      org.apache.flink.streaming.api.operators.Output output,
      org.apache.flink.streaming.runtime.tasks.ProcessingTimeService time) {
    setup(task, config, output);
    setProcessingTimeService(time);
    int slides = ((Number) references[1]).intValue();
    slideMs = 1000L * ((Number) references[0]).intValue();
    windowMs = slides * slideMs;
    top = ((Number) references[2]).intValue();
    latenessMs = ((Number) references[3]).longValue();
    idleMs = ((Number) references[4]).longValue();
    mostNames = ((Number) references[5]).longValue();
    // Two windows are kept, and a few slides that are still open.
    long share = mostNames / ((2L * slides + 4) * ((Number) references[6]).intValue());
    mostOfSlide[Names.WORD] = (int) Math.max(100, share * 3 / 4);
    mostOfSlide[Names.HASHTAG] = (int) Math.max(100, share / 8);
    mostOfSlide[Names.MENTION] = mostOfSlide[Names.HASHTAG];
    clock = new Clock(idleMs, ((Number) references[7]).intValue());
  }

  public void open() throws Exception {
    super.open();
    tick();
  }

  private void tick() {
    getProcessingTimeService().registerTimer(getProcessingTimeService().getCurrentProcessingTime() + TICK_MS, this);
  }

  public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element) throws Exception {
    org.apache.flink.types.Row row = (org.apache.flink.types.Row) element.getValue();
    if ("predictions".equals(row.getField(0)) && row.getField(1) != null) {
      count(row);
    }
    output.collect(element);
  }

  private void count(org.apache.flink.types.Row row) throws Exception {
    String task = row.getField(3) == null ? "" : (String) row.getField(3);
    long time = ((Number) row.getField(6)).longValue();
    Task counted = (Task) tasks.get(task);
    if (counted == null) {
      counted = new Task();
      tasks.put(task, counted);
    }
    long start = time - Math.floorMod(time, slideMs);
    if (closed == NONE || start >= closed) {
      add(counted, start, (byte[]) row.getField(1));
    } else {
      counted.late++;
      if (start >= closed + slideMs - windowMs) {
        add(counted, start, (byte[]) row.getField(1));
      } else {
        counted.lost++;
      }
    }
    clock.seen(((Number) row.getField(7)).intValue(), time);
    if (closed == NONE || time >= closed + slideMs + latenessMs) {
      closeUntil(clock.eventTime() - latenessMs);
    }
    // A partition that holds everything up must not fill the memory.
    if (held > mostNames && closed == NONE) {
      closed = first();
    }
    while (held > mostNames && hasOpen()) {
      close();
    }
  }

  private void add(Task task, long start, byte[] prediction) throws Exception {
    Slide slide = (Slide) task.slides.get(Long.valueOf(start));
    if (slide == null) {
      slide = new Slide();
      task.slides.put(Long.valueOf(start), slide);
    }
    boolean late = closed != NONE && start < closed;
    slide.texts++;
    slide.bytes = null;
    texts++;
    names.readPrediction(prediction);
    for (int i = 0; i < names.names.size(); i++) {
      int kind = names.kinds[i];
      java.util.HashMap counts = slide.counts[kind];
      Object name = names.names.get(i);
      Cell cell = (Cell) counts.get(name);
      if (cell == null) {
        if (counts.size() >= mostOfSlide[kind] && !makeRoom(slide, kind, late)) {
          continue;
        }
        cell = new Cell();
        counts.put(name, cell);
        held++;
      }
      if (cell.text != texts) {
        cell.text = texts;
        cell.count++;
        if (late) {
          task.sum(kind, name, 1, 0);
        }
      }
    }
  }

  /** Drops the rarest names of a slide that is full, and notes by how much counts may be too low for that. */
  private boolean makeRoom(Slide slide, int kind, boolean late) {
    if (late) {
      // It is in the sums already: a new name is left out instead.
      slide.missed[kind]++;
      return false;
    }
    java.util.HashMap counts = slide.counts[kind];
    int before = counts.size();
    for (int rare = 1; counts.size() > before * 3L / 4; rare++) {
      for (java.util.Iterator cells = counts.values().iterator(); cells.hasNext(); ) {
        if (((Cell) cells.next()).count <= rare) {
          cells.remove();
        }
      }
      if (counts.size() <= before * 3L / 4) {
        slide.missed[kind] += rare;
      }
    }
    held -= before - counts.size();
    return true;
  }

  public void onProcessingTime(long time) throws java.io.IOException, InterruptedException, Exception {
    long now = getProcessingTimeService().getCurrentProcessingTime();
    clock.tick(now, TICK_MS);
    closeUntil((clock.idle() ? now - idleMs : clock.eventTime()) - latenessMs);
    tick();
  }

  /** Closes every window that ends by this event time; empty ones that nobody would see between two others are left out. */
  private void closeUntil(long time) throws Exception {
    if (closed == NONE && time > NONE / 2) {
      closed = first();
    }
    while (closed != NONE && closed + slideMs <= time) {
      long last = time - Math.floorMod(time, slideMs) - slideMs;
      long first = first();
      if (first == NONE || first > closed) {
        closed = first == NONE ? last : Math.min(first, last);
      }
      close();
    }
  }

  /** Returns the start of the oldest slide that is kept, or NONE. */
  private long first() {
    long first = NONE;
    for (java.util.Iterator each = tasks.values().iterator(); each.hasNext(); ) {
      Task task = (Task) each.next();
      if (!task.slides.isEmpty()) {
        long own = ((Long) task.slides.firstKey()).longValue();
        first = first == NONE ? own : Math.min(first, own);
      }
    }
    return first;
  }

  private boolean hasOpen() {
    for (java.util.Iterator each = tasks.values().iterator(); each.hasNext(); ) {
      Task task = (Task) each.next();
      if (!task.slides.isEmpty() && ((Long) task.slides.lastKey()).longValue() >= closed) {
        return true;
      }
    }
    return false;
  }

  private void close() throws Exception {
    for (java.util.Iterator each = tasks.values().iterator(); each.hasNext(); ) {
      Task task = (Task) each.next();
      task.move(closed, 1, 0);
      task.move(closed - windowMs, -1, 1);
      task.move(closed - 2 * windowMs, 0, -1);
      Slide gone = (Slide) task.slides.remove(Long.valueOf(closed - 2 * windowMs));
      if (gone != null) {
        held -= gone.names();
      }
    }
    closed += slideMs;
    for (java.util.Iterator each = tasks.entrySet().iterator(); each.hasNext(); ) {
      java.util.Map.Entry entry = (java.util.Map.Entry) each.next();
      for (int kind = 0; kind < KINDS.length; kind++) {
        org.apache.flink.types.Row row = new org.apache.flink.types.Row(COLUMNS);
        row.setField(0, "trending");
        row.setField(1, window((String) entry.getKey(), (Task) entry.getValue(), kind));
        output.collect(new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(row));
      }
    }
  }

  /** Returns the newest closed window as `schemas.trending.Trending`. */
  private byte[] window(String name, Task task, int kind) throws Exception {
    long[] now = task.totals(closed - windowMs, closed, kind);
    long[] before = task.totals(closed - 2 * windowMs, closed - windowMs, kind);
    java.io.ByteArrayOutputStream bytes = new java.io.ByteArrayOutputStream();
    org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonGenerator out = json.createGenerator(bytes);
    out.writeStartObject();
    out.writeStringField("task", name);
    out.writeStringField("kind", KINDS[kind]);
    out.writeNumberField("start", closed - windowMs);
    out.writeNumberField("end", closed);
    out.writeNumberField("slide_ms", slideMs);
    out.writeArrayFieldStart("items");
    java.util.List items = new Top(top, kind == Names.WORD, now[0], before[0]).of(task.sums[kind]);
    for (int i = 0; i < items.size(); i++) {
      Sum sum = (Sum) items.get(i);
      out.writeStartObject();
      out.writeStringField("name", sum.name);
      out.writeNumberField("count", sum.now);
      out.writeNumberField("before", sum.before);
      out.writeNumberField("change", sum.now - sum.before);
      out.writeEndObject();
    }
    out.writeEndArray();
    out.writeNumberField("total", now[0]);
    out.writeNumberField("total_before", before[0]);
    out.writeNumberField("missed", now[1]);
    out.writeNumberField("late", task.late);
    out.writeNumberField("lost", task.lost);
    out.writeEndObject();
    out.close();
    return bytes.toByteArray();
  }

  public void initializeState(org.apache.flink.runtime.state.StateInitializationContext context) throws Exception {
    super.initializeState(context);
    saved =
        context
            .getOperatorStateStore()
            .getListState(
                new org.apache.flink.api.common.state.ListStateDescriptor(
                    "trends", org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer.INSTANCE));
    for (java.util.Iterator each = ((Iterable) saved.get()).iterator(); each.hasNext(); ) {
      restore(new java.io.DataInputStream(new java.io.ByteArrayInputStream((byte[]) each.next())));
    }
    for (java.util.Iterator each = tasks.values().iterator(); each.hasNext(); ) {
      held += ((Task) each.next()).restored(closed, windowMs);
    }
  }

  /** Takes in one element of the state: the head, or a slide of a task. Slides of another length are of no use any more. */
  private void restore(java.io.DataInputStream in) throws Exception {
    if (in.readInt() != VERSION) {
      throw new IllegalStateException("the state of trending is of a version that is not known");
    }
    boolean usable = in.readLong() == slideMs;
    String name = in.readUTF();
    if (name.isEmpty()) {
      closed = usable ? in.readLong() : NONE;
      clock.restore(in, usable);
      return;
    }
    Task task = (Task) tasks.get(name.substring(1));
    if (task == null) {
      task = new Task();
      tasks.put(name.substring(1), task);
    }
    long start = in.readLong();
    if (start == NONE) {
      task.late = in.readLong();
      task.lost = in.readLong();
    } else if (usable) {
      task.slides.put(Long.valueOf(start), new Slide().read(in));
    }
  }

  public void snapshotState(org.apache.flink.runtime.state.StateSnapshotContext context) throws Exception {
    super.snapshotState(context);
    saved.clear();
    saved.add(clock.save(head("", closed)));
    for (java.util.Iterator each = tasks.entrySet().iterator(); each.hasNext(); ) {
      java.util.Map.Entry entry = (java.util.Map.Entry) each.next();
      Task task = (Task) entry.getValue();
      String name = "=" + entry.getKey();
      saved.add(task.save(head(name, NONE)));
      for (java.util.Iterator slides = task.slides.entrySet().iterator(); slides.hasNext(); ) {
        java.util.Map.Entry slide = (java.util.Map.Entry) slides.next();
        saved.add(((Slide) slide.getValue()).save(head(name, ((Long) slide.getKey()).longValue())));
      }
    }
  }

  private Head head(String name, long start) throws java.io.IOException {
    return new Head(VERSION, slideMs, name, start);
  }
}
