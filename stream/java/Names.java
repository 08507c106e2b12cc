/**
 * The hashtags, mentions and words of a text, each case-folded; docs/trending.md has the rules.
 *
 * Compiled together with Trends. Only the first characters of a text are read: that bounds the time, whatever its length.
 */
class Names {

  static final int WORD = 0;
  static final int HASHTAG = 1;
  static final int MENTION = 2;

  private static final int MOST_CHARS = 8192;
  private static final int MOST_NAME = 64;
  private static final int LEAST_WORD = 3;

  private static final int OTHER = 0;
  private static final int LETTER = 1;
  private static final int DIGIT = 2;
  private static final int MARK = 3;
  private static final int JOINER = 4;

  private static final byte[] TEXT = "\"text\":\"".getBytes(java.nio.charset.StandardCharsets.US_ASCII);

  private final org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory json =
      new org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory();

  /** What was found: names and, at the same place, their kinds. A name may come more than once. */
  final java.util.ArrayList names = new java.util.ArrayList();

  int[] kinds = new int[64];

  /** Finds the names in the text of an encoded prediction. */
  void readPrediction(byte[] prediction) throws java.io.IOException {
    read(text(prediction));
  }

  /**
   * Returns the text of an encoded prediction.
   *
   * Of the fields before it none can have this name and a text as its value; within texts a quote is escaped. So the first one is it.
   */
  private String text(byte[] prediction) throws java.io.IOException {
    int start = textStart(prediction);
    int end = start;
    while (end < prediction.length && prediction[end] != '"' && prediction[end] != '\\') {
      end++;
    }
    if (end >= prediction.length || prediction[end] == '\\') {
      return parsedText(prediction);
    }
    return new String(prediction, start, end - start, java.nio.charset.StandardCharsets.UTF_8);
  }

  private static int textStart(byte[] prediction) {
    for (int at = 0; at + TEXT.length <= prediction.length; at++) {
      int same = 0;
      while (same < TEXT.length && prediction[at + same] == TEXT[same]) {
        same++;
      }
      if (same == TEXT.length) {
        return at + same;
      }
    }
    return prediction.length;
  }

  private String parsedText(byte[] prediction) throws java.io.IOException {
    org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser parser = json.createParser(prediction);
    try {
      parser.nextToken();
      String field = parser.nextFieldName();
      while (field != null) {
        parser.nextToken();
        if (field.equals("text")) {
          return parser.getText();
        }
        parser.skipChildren();
        field = parser.nextFieldName();
      }
      return "";
    } finally {
      parser.close();
    }
  }

  /** Finds the names in a text. */
  void read(String whole) {
    names.clear();
    String text = normal(whole.length() > MOST_CHARS ? whole.substring(0, MOST_CHARS) : whole);
    int at = 0;
    int before = ' ';
    while (at < text.length()) {
      int point = text.codePointAt(at);
      int end = at + Character.charCount(point);
      if (point == '#' && before != '&' && before != '_' && kind(before) == OTHER) {
        end = tagged(text, end, HASHTAG);
      } else if (point == '@' && before != '_' && !asciiWord(before)) {
        end = tagged(text, end, MENTION);
      } else if (kind(point) == LETTER || kind(point) == DIGIT) {
        end = word(text, at, before);
      }
      before = text.codePointBefore(end);
      at = end;
    }
  }

  private static String normal(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (text.charAt(i) >= 0x80) {
        return java.text.Normalizer.normalize(text, java.text.Normalizer.Form.NFKC).replace('\u2019', '\'');
      }
    }
    return text;
  }

  /** Takes the name after a sign, and returns where the text goes on. */
  private int tagged(String text, int start, int kind) {
    int end = start;
    boolean lettered = false;
    while (end < text.length()) {
      int point = text.codePointAt(end);
      int is = kind(point);
      if ((is == OTHER && point != '_') || (end == start && is != LETTER && is != DIGIT && point != '_')) {
        break;
      }
      lettered = lettered || is == LETTER || (is == DIGIT && kind == MENTION);
      end = end + Character.charCount(point);
    }
    if (lettered) {
      add(text.substring(start, end), kind);
    }
    return end;
  }

  /** Takes a word, or passes over an address, and returns where the text goes on. */
  private int word(String text, int start, int before) {
    int end = start;
    boolean lettered = false;
    boolean dense = dense(text.codePointAt(start));
    while (end < text.length()) {
      int point = text.codePointAt(end);
      int is = kind(point);
      boolean joined = point == '\'' && letter(text.codePointBefore(end)) && end + 1 < text.length() && letter(text.codePointAt(end + 1));
      if ((is == OTHER && !joined) || (is != MARK && is != JOINER && dense(point) != dense)) {
        break;
      }
      lettered = lettered || is == LETTER;
      end = end + Character.charCount(point);
    }
    String found = text.substring(start, end);
    char next = end < text.length() ? text.charAt(end) : ' ';
    if (address(text, found, end, next)) {
      return space(text, end);
    }
    if (dense) {
      pairs(found);
    } else if (lettered && !(before == '&' && next == ';')) {
      int length = found.codePointCount(0, found.length());
      if (length >= LEAST_WORD || (length == LEAST_WORD - 1 && hangul(found.codePointAt(0)))) {
        add(found, WORD);
      }
    }
    return end;
  }

  private static boolean address(String text, String found, int end, char next) {
    if (next == ':') {
      return text.startsWith("://", end);
    }
    return (next == '.' && found.equalsIgnoreCase("www"))
        || (next == '@' && end + 1 < text.length() && asciiWord(text.charAt(end - 1)) && asciiWord(text.charAt(end + 1)));
  }

  private static int space(String text, int start) {
    int end = start;
    while (end < text.length() && !Character.isWhitespace(text.charAt(end))) {
      end++;
    }
    return end;
  }

  /** Adds each two neighbouring characters of a script that shows no space between words; marks belong to the character before. */
  private void pairs(String run) {
    int first = 0;
    int second = next(run, 0);
    while (second < run.length()) {
      int end = next(run, second);
      add(run.substring(first, end), WORD);
      first = second;
      second = end;
    }
  }

  private static int next(String run, int start) {
    int end = start + Character.charCount(run.codePointAt(start));
    while (end < run.length() && kind(run.codePointAt(end)) >= MARK) {
      end = end + Character.charCount(run.codePointAt(end));
    }
    return end;
  }

  private void add(String found, int kind) {
    int end = found.length();
    while (kind(found.charAt(end - 1)) == JOINER) {
      end--;
    }
    String name = found.substring(0, end);
    if (end > MOST_NAME) {
      return;
    }
    if (names.size() == kinds.length) {
      kinds = java.util.Arrays.copyOf(kinds, 2 * kinds.length);
    }
    kinds[names.size()] = kind;
    names.add(fold(name));
  }

  private static String fold(String name) {
    // Both ways: "ß" and "SS" are one, as are the two small sigmas.
    for (int i = 0; i < name.length(); i++) {
      if (name.charAt(i) >= 0x80) {
        return name.toUpperCase(java.util.Locale.ROOT).toLowerCase(java.util.Locale.ROOT);
      }
    }
    return name.toLowerCase(java.util.Locale.ROOT);
  }

  private static boolean letter(int point) {
    return kind(point) == LETTER && !dense(point);
  }

  private static boolean asciiWord(int point) {
    return (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z') || (point >= '0' && point <= '9');
  }

  private static boolean hangul(int point) {
    return point >= 0xAC00 && point <= 0xD7FF;
  }

  private static boolean dense(int point) {
    return point >= 0x0E00
        && (point <= 0x0EFF
            || (point >= 0x1000 && point <= 0x109F)
            || (point >= 0x1780 && point <= 0x17FF)
            || (point >= 0x3005 && point <= 0x3007)
            || (point >= 0x3040 && point <= 0x30FF)
            || (point >= 0x31F0 && point <= 0x31FF)
            || (point >= 0x3400 && point <= 0x9FFF)
            || (point >= 0xF900 && point <= 0xFAFF)
            || (point >= 0x20000 && point <= 0x3FFFF));
  }

  private static int kind(int point) {
    if (point < 0x80) {
      if ((point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z')) {
        return LETTER;
      }
      return point >= '0' && point <= '9' ? DIGIT : OTHER;
    }
    if (point == 0x200C || point == 0x200D) {
      return JOINER;
    }
    if (Character.isLetter(point)) {
      return LETTER;
    }
    switch (Character.getType(point)) {
      case Character.DECIMAL_DIGIT_NUMBER:
        return DIGIT;
      case Character.NON_SPACING_MARK:
      case Character.COMBINING_SPACING_MARK:
      case Character.ENCLOSING_MARK:
        // What asks for the picture or the text form of a character belongs to no word.
        return point >= 0xFE00 && point <= 0xFE0F ? OTHER : MARK;
      default:
        return OTHER;
    }
  }
}
