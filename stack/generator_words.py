"""The word lists of the generated stream, written for it: what customers say to a support desk, in six languages and four scripts."""

from __future__ import annotations

LANGUAGES = ("en", "de", "es", "th", "ja", "ar")

FILLER = {
    "en": "hello please today again my the since yesterday with still really help now your app",
    "de": "hallo bitte heute wieder meine die seit gestern mit immer noch wirklich hilfe jetzt",
    "es": "hola por favor hoy otra vez mi desde ayer con todavía de verdad ayuda ahora",
    "th": "สวัสดี ครับ ค่ะ วันนี้ อีกแล้ว ของฉัน ตั้งแต่ เมื่อวาน ช่วย ด้วย ตอนนี้ จริงๆ",
    "ja": "こんにちは 今日 また 私の 昨日 から まだ 本当に 助けて ください 今 です",
    "ar": "مرحبا من فضلك اليوم مرة أخرى منذ أمس مع ما زال حقا مساعدة الآن",
}

CLASS_WORDS: dict[str, dict[str, str]] = {
    "billing": {
        "en": "invoice charged refund payment card price fee twice",
        "de": "rechnung abgebucht erstattung zahlung karte preis gebühr doppelt",
        "es": "factura cobrado reembolso pago tarjeta precio tarifa doble",
        "th": "ใบแจ้งหนี้ เก็บเงิน คืนเงิน ชำระเงิน บัตร ราคา ค่าธรรมเนียม",
        "ja": "請求書 課金 返金 支払い カード 料金 手数料 二重",
        "ar": "فاتورة خصم استرداد دفع بطاقة سعر رسوم مرتين",
    },
    "delivery": {
        "en": "parcel courier shipped late tracking address doorstep lost",
        "de": "paket kurier versendet verspätet sendung adresse haustür verloren",
        "es": "paquete mensajero enviado tarde seguimiento dirección puerta perdido",
        "th": "พัสดุ คนส่ง จัดส่ง ล่าช้า ติดตาม ที่อยู่ หน้าบ้าน หาย",
        "ja": "荷物 配達 発送 遅い 追跡 住所 玄関 紛失",
        "ar": "طرد ساعي شحن متأخر تتبع عنوان باب ضائع",
    },
    "login": {
        "en": "password locked account sign code username reset verify",
        "de": "passwort gesperrt konto anmelden code benutzername zurücksetzen bestätigen",
        "es": "contraseña bloqueada cuenta entrar código usuario restablecer verificar",
        "th": "รหัสผ่าน ล็อก บัญชี เข้าสู่ระบบ รหัส ชื่อผู้ใช้ รีเซ็ต ยืนยัน",
        "ja": "パスワード ロック アカウント ログイン コード ユーザー名 リセット 認証",
        "ar": "مرور مقفل حساب دخول رمز مستخدم إعادة تحقق",
    },
    "defect": {
        "en": "crash error freeze broken screen bug slow update",
        "de": "absturz fehler eingefroren kaputt bildschirm bug langsam aktualisierung",
        "es": "fallo error congelado roto pantalla bug lento actualización",
        "th": "ค้าง ข้อผิดพลาด เสีย จอ บั๊ก ช้า อัปเดต พัง",
        "ja": "クラッシュ エラー 固まる 壊れた 画面 バグ 遅く 更新",
        "ar": "تعطل خطأ تجمد مكسور شاشة خلل بطيء تحديث",
    },
    "question": {
        "en": "how where which possible difference explain manual opening",
        "de": "wie wo welche möglich unterschied erklären anleitung öffnungszeiten",
        "es": "cómo dónde cuál posible diferencia explicar manual horario",
        "th": "อย่างไร ที่ไหน อันไหน ได้ไหม ต่างกัน อธิบาย คู่มือ เปิด",
        "ja": "どうやって どこ どちら できますか 違い 説明 取扱 営業",
        "ar": "كيف أين أي ممكن فرق شرح دليل مواعيد",
    },
    "praise": {
        "en": "thanks great love friendly perfect fast recommend happy",
        "de": "danke toll liebe freundlich perfekt schnell empfehle zufrieden",
        "es": "gracias genial encanta amable perfecto rápido recomiendo feliz",
        "th": "ขอบคุณ เยี่ยม รัก ใจดี สมบูรณ์แบบ เร็ว แนะนำ พอใจ",
        "ja": "ありがとう 素晴らしい 大好き 親切 完璧 速い おすすめ 満足",
        "ar": "شكرا رائع أحب لطيف ممتاز سريع أنصح سعيد",
    },
    # Appears with the drift.
    "returns": {
        "en": "return exchange label wrong size colour unopened pickup",
        "de": "rückgabe umtausch etikett falsche größe farbe ungeöffnet abholung",
        "es": "devolver cambio etiqueta talla equivocada color cerrado recogida",
        "th": "คืนสินค้า เปลี่ยน ป้าย ผิด ขนาด สี ยังไม่เปิด รับกลับ",
        "ja": "返品 交換 ラベル 間違い サイズ 色 未開封 集荷",
        "ar": "إرجاع استبدال ملصق خاطئ مقاس لون مغلق استلام",
    },
}

PRODUCTS = ("Nova", "Orbit", "Pulse", "Quill", "Ridge", "Sable", "Tango")
"""Products of the shop: each is mostly written about for one reason, and the drift deals these reasons out anew."""
